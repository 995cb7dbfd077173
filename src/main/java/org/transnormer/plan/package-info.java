/** What a training run on many GPUs needs and how long its steps take, from the run's own code on no GPU. SPEC section 7.6. */
package org.transnormer.plan;

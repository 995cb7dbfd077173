/** Training steps, evaluation, and what a run leaves behind. SPEC section 2.6. */
package org.transnormer.train;

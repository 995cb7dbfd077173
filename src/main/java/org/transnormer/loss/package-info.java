/** Softmax cross-entropy in two phases. SPEC section 3.8. */
package org.transnormer.loss;

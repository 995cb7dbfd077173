/** Decay rates of the attention heads, by published variant. SPEC section 3.10. */
package org.transnormer.decay;

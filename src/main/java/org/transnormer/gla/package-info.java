/** Gated linear attention, the token mixer: composed of the leaves, one class for all backends. SPEC section 4.1. */
package org.transnormer.gla;

/** Element types, storage and strided views. No arithmetic. SPEC section 1. */
package org.transnormer.tensor;

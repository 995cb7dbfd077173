/** The ground of the vector twins: lanes, threads, scratch memory, elementary functions. SPEC section 1.3. */
package org.transnormer.simd;

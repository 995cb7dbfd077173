/** The ground of the CUDA twins: finding and calling NVIDIA's libraries. SPEC section 7. */
package org.transnormer.cuda;

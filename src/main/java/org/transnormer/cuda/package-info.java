/** The ground of the CUDA twins: finding, loading and calling NVIDIA's libraries. SPEC section 8. */
package org.transnormer.cuda;

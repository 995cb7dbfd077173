/** SRMSNorm and the norms it is compared with. SPEC section 3.1. */
package org.transnormer.srmsnorm;

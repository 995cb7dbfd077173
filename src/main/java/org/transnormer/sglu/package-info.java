/** SGLU, the channel mixer: composed of the leaves, one class for all backends. SPEC section 4.2. */
package org.transnormer.sglu;

/** The affine map. SPEC section 3.4. */
package org.transnormer.linear;

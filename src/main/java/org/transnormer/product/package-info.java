/** The elementwise product of the gates. SPEC section 3.6. */
package org.transnormer.product;

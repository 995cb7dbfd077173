/** The activations of the released code. SPEC section 3.5. */
package org.transnormer.activation;

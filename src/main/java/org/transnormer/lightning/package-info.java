/** Lightning Attention: causal linear attention with decay, in four scalar forms and fast twins. SPEC section 3.3. */
package org.transnormer.lightning;

/**
 * Lightning Attention: causal linear attention with decay, in four scalar forms and fast twins (SPEC section 3.3), and
 * the same with activation and LRPE before it (SPEC section 4.1).
 */
package org.transnormer.lightning;

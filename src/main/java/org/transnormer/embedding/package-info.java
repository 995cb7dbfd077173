/** Token embedding. SPEC section 3.7. */
package org.transnormer.embedding;

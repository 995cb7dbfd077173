/** How the ranks that share a model exchange partial results. SPEC section 7. */
package org.transnormer.parallel;

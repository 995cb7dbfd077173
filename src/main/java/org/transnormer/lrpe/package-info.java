/** LRPE: learned relative positions by cosine and sine weighting. SPEC section 3.2. */
package org.transnormer.lrpe;

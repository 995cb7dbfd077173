/** Pictures of runs, as SVG. SPEC section 6.4. */
package org.transnormer.plot;

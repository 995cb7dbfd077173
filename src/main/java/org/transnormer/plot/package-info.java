/** Pictures of runs, as SVG. SPEC section 6.3. */
package org.transnormer.plot;

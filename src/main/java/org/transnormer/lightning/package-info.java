/** Lightning Attention in four scalar forms and fast twins (SPEC 3.3), and with activation and LRPE before it (SPEC 4.1). */
package org.transnormer.lightning;

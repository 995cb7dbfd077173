/** Comparing numbers: tolerances, finite differences, golden files, traces. SPEC sections 1.4, 1.5 and 6.5. */
package org.transnormer.verify;

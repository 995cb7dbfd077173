/** Comparing numbers: tolerances, finite differences, golden files, traces. SPEC section 1.4. */
package org.transnormer.verify;

/** One instance of every leaf component, and the memory they work on. SPEC section 1. */
package org.transnormer.backend;

/** Counter-based random numbers: pure functions of (seed, purpose, name, index). SPEC section 1.6. */
package org.transnormer.random;

/** The optimizer, gradient clipping and learning-rate schedules. SPEC section 3.9. */
package org.transnormer.adamw;

/** Using a model token by token: the robust recurrence, the original form, sampling. SPEC section 5. */
package org.transnormer.inference;

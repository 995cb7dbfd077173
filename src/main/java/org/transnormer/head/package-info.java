/** The head and its loss, composed of the leaves. SPEC section 4.3. */
package org.transnormer.head;

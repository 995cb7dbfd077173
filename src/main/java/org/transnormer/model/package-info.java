/** The model: configuration, parameters, and the order of component calls. SPEC section 2. */
package org.transnormer.model;

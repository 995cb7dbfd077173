/** From text files to packed batches: documents, their tokens, a held-out part, exact resume. SPEC section 6.4. */
package org.transnormer.data;

/** Text to token ids and back. SPEC section 6.4. */
package org.transnormer.tokenizer;

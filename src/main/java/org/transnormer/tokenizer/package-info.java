/** Text to token ids and back. SPEC section 6.3. */
package org.transnormer.tokenizer;

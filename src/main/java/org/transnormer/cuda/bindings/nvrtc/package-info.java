/** NVRTC as jextract generates it: jextract/generate.sh. Never edited; only the facade calls it. */
package org.transnormer.cuda.bindings.nvrtc;

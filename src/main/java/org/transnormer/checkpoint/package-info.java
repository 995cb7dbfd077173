/** Files that hold tensors: safetensors, Hugging Face model folders, checkpoints of a run. SPEC sections 6.1 to 6.3. */
package org.transnormer.checkpoint;

// LayerNorm: y = w (x - μ) (σ² + ε)^(-1/2) + b, statistics in double. What the kernels do and how: norm.cuh.
#include "norm.cuh"

NORM_KERNELS(layernorm, LAYER, f32, float, double)
NORM_KERNELS(layernorm, LAYER, bf16, bf16, double)
NORM_ADD_SUMS(layernorm)

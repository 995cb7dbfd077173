// RMSNorm: y = w x (Σ x² / W + ε)^(-1/2). What the kernels do and how: norm.cuh.
#include "norm.cuh"

NORM_KERNELS(rmsnorm, RMS, f32, float, float)
NORM_KERNELS(rmsnorm, RMS, bf16, bf16, float)
NORM_ADD_SUMS(rmsnorm)

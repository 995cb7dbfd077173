// SRMSNorm: y = x (Σ x² / W + ε)^(-1/2), no parameters. What the kernels do and how: norm.cuh.
#include "norm.cuh"

NORM_KERNELS(srmsnorm, SRMS, f32, float, float)
NORM_KERNELS(srmsnorm, SRMS, bf16, bf16, float)

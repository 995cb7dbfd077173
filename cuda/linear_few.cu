// Linear maps of one or two tokens: entry points of linear_few.cuh. SPEC sections 3.4 and 3.4.1.
#include "linear_few.cuh"

/**
 * gate (TOKENS, I) may be null but for a product; bias (O) and residual (TOKENS, O) may be null; residual may be y. group:
 * threads that a row's norm is formed by. most_rows: ⌈O / gridDim.x⌉. staged: whether x is kept in shared memory; always but
 * for a plain x that is too long.
 */
#define FEW(NAME, T, TOKENS)                                                                                            \
  extern "C" __global__ void __maxnreg__(REGISTERS)                                                                     \
      NAME(int input, const T* x, long long x_stride, const T* gate, long long gate_stride, double inverse_width,       \
           double epsilon, int group, const T* w, long long w_stride, const float* bias, const T* residual,             \
           long long residual_stride, T* y, long long y_stride, long long columns, long long outputs, int most_rows,    \
           int staged) {                                                                                                \
    Nothing nothing;                                                                                                    \
    few<T, TOKENS>(nothing, (Input)input, x, x_stride, gate, gate_stride, inverse_width, epsilon, group, w, w_stride,   \
                   bias, residual, residual_stride, y, y_stride, columns, outputs, most_rows, staged);                  \
  }
FEW(linear_few_f32_1, float, 1)
FEW(linear_few_f32_2, float, 2)
FEW(linear_few_bf16_1, bf16, 1)
FEW(linear_few_bf16_2, bf16, 2)

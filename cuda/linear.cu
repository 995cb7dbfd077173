// What the library's matrix products do not do for a linear map: bias, its gradient. SPEC section 3.4.
//
// linear_start_*: y = b + residual (0 where missing), before a product that adds to y. linear_add_bf16: y = residual + product.
//
// linear_columns_*: sums of dy over ranges of tokens, 8 chains (token t of a range to chain t mod 8) joined in order;
// linear_join adds those of a column in order: db. Reads T · O gradients.
//
// Bits depend on shapes only.

#include "common.cuh"

namespace {

constexpr int SUM_THREADS = 256;

template <class T>
DEVICE void start(const float* bias, const T* residual, long long residual_stride, T* y, long long y_stride,
                  long long columns) {
  const long long t = blockIdx.x;
  for (long long c = threadIdx.x * LANES<T>; c < columns; c += SUM_THREADS * LANES<T>) {
    float a[LANES<T>] = {};
    if (residual != nullptr) {
      unpack(load_some(residual + t * residual_stride + c, columns - c), a);
    }
    if (bias != nullptr) {
#pragma unroll
      for (int j = 0; j < LANES<T>; j += 4) {
        float b[4];
        unpack(load_some(bias + c + j, columns - c - j), b);
#pragma unroll
        for (int k = 0; k < 4; k++) {
          a[j + k] += b[k];
        }
      }
    }
    store_some(y + t * y_stride + c, columns - c, pack(a));
  }
}

/** A block sums 32 pieces of 16 bytes over the tokens of a range, a warp every 8th token. */
template <class T>
DEVICE void sum_columns(const T* dy, long long dy_stride, long long tokens, long long columns, long long range,
                        float* sums) {
  constexpr int WARPS = SUM_THREADS / 32;
  constexpr int AHEAD = 4;
  __shared__ float joined[WARPS][32 * LANES<T>];
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const long long c = ((long long)blockIdx.x * 32 + lane) * LANES<T>;
  const long long end = min(tokens, (blockIdx.y + 1) * range);
  float sum[LANES<T>] = {};
  for (long long t = blockIdx.y * range + warp; t < end; t += AHEAD * WARPS) {
    Pack<T> x[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      x[k] = load_some(dy + (t + k * WARPS) * dy_stride + c, t + k * WARPS < end ? columns - c : 0);
    }
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      float a[LANES<T>];
      unpack(x[k], a);
#pragma unroll
      for (int j = 0; j < LANES<T>; j++) {
        sum[j] += a[j];
      }
    }
  }
#pragma unroll
  for (int j = 0; j < LANES<T>; j++) {
    joined[warp][32 * j + lane] = sum[j];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 32 * LANES<T>; i += SUM_THREADS) {
    float s = 0.0f;
#pragma unroll
    for (int k = 0; k < WARPS; k++) {
      s += joined[k][i];
    }
    const long long column = ((long long)blockIdx.x * 32 + i % 32) * LANES<T> + i / 32;
    if (column < columns) {
      sums[blockIdx.y * columns + column] = s;
    }
  }
}

}  // namespace

#define START(NAME, TYPE)                                                                                         \
  extern "C" __global__ void __launch_bounds__(SUM_THREADS)                                                       \
      NAME(const float* bias, const TYPE* residual, long long residual_stride, TYPE* y, long long y_stride,       \
           long long columns) {                                                                                   \
    start(bias, residual, residual_stride, y, y_stride, columns);                                                 \
  }
START(linear_start_f32, float)
START(linear_start_bf16, bf16)

/** y = a + b, one row to a block; y may be a or b. */
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    linear_add_bf16(const bf16* a, long long a_stride, const bf16* b, long long b_stride, bf16* y, long long y_stride,
                    long long columns) {
  const long long t = blockIdx.x;
  for (long long c = threadIdx.x * LANES<bf16>; c < columns; c += SUM_THREADS * LANES<bf16>) {
    float v[LANES<bf16>], w[LANES<bf16>];
    unpack(load_some(a + t * a_stride + c, columns - c), v);
    unpack(load_some(b + t * b_stride + c, columns - c), w);
#pragma unroll
    for (int j = 0; j < LANES<bf16>; j++) {
      v[j] += w[j];
    }
    store_some(y + t * y_stride + c, columns - c, pack(v));
  }
}

/** sums (ranges, columns): gridDim.y ranges of `range` tokens. */
#define COLUMNS(NAME, TYPE)                                                                                       \
  extern "C" __global__ void __launch_bounds__(SUM_THREADS)                                                       \
      NAME(const TYPE* dy, long long dy_stride, long long tokens, long long columns, long long range,             \
           float* sums) {                                                                                         \
    sum_columns(dy, dy_stride, tokens, columns, range, sums);                                                     \
  }
COLUMNS(linear_columns_f32, float)
COLUMNS(linear_columns_bf16, bf16)

/** db = Σ over ranges, or added to db. */
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    linear_join(const float* sums, int ranges, long long columns, float* db, int accumulate) {
  const long long c = (long long)blockIdx.x * SUM_THREADS + threadIdx.x;
  if (c >= columns) {
    return;
  }
  float sum = 0.0f;
#pragma unroll 8
  for (int r = 0; r < ranges; r++) {
    sum += sums[r * columns + c];
  }
  db[c] = accumulate ? db[c] + sum : sum;
}

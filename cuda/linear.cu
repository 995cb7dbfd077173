// What the library's matrix products do not do for a linear map: products of few tokens, bias, its gradient. SPEC section
// 3.4.
//
// linear_few_*_N: y_ti = Σ_j x_tj w_ij + b_i + residual_ti for N = 1 or 2 tokens, which is what decoding does. A warp makes N
// neighbouring outputs of all tokens: a lane takes every 32nd piece of 16 bytes of the weights' rows, each read once, fetched
// one step ahead and kept out of L1, where x stays. A lane's products are one chain of fused multiply-adds per output in
// F32, the lanes' sums go up a tree, then bias and residual are added. Reads O · I weights.
//
// linear_start_*: y = b + residual (0 where missing): all there is where the inner axis is empty, and a bias in the type of y
// for the library's products.
//
// linear_columns_*: sums of dy over ranges of tokens, 8 chains (token t of a range to chain t mod 8) joined in order;
// linear_join adds those of a column in order: db. Reads T · O gradients.
//
// Bits depend on shapes only.

#include "common.cuh"

namespace {

constexpr int THREADS = 128;
constexpr int SUM_THREADS = 256;

/** 16 bytes that are read once. */
template <class T>
DEVICE Pack<T> load_once(const T* p) {
  return {load_streaming(p)};
}

/** Of ROWS rows of w the piece that begins with column c; 0 beyond the row's end. */
template <class T, int ROWS>
DEVICE void load_weights(const T* w, long long stride, long long c, long long columns, bool aligned,
                         Pack<T> (&to)[ROWS]) {
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    to[r] = aligned && c + LANES<T> <= columns ? load_once(w + r * stride + c)
                                               : load_some(w + r * stride + c, columns - c);
  }
}

template <class T, int TOKENS, int ROWS>
DEVICE void few(const T* x, long long x_stride, const T* w, long long w_stride, const float* bias, const T* residual,
                long long residual_stride, T* y, long long y_stride, int tokens, long long columns, long long outputs) {
  static_assert(TOKENS * ROWS <= 32, "a lane writes one output");
  const int lane = threadIdx.x % 32;
  const long long first = ((long long)blockIdx.x * (THREADS / 32) + threadIdx.x / 32) * ROWS;
  if (first >= outputs) {
    return;
  }
  // Rows and tokens beyond the last are the last once more; what comes of them is not written.
  const int rows = (int)min((long long)ROWS, outputs - first);
  const T* row = w + first * w_stride;
  const bool whole = rows == ROWS;
  const bool aligned = whole && aligned16(row) && w_stride % LANES<T> == 0;
  float sums[ROWS][TOKENS] = {};
  Pack<T> weights[ROWS];
  const long long step = 32 * LANES<T>;
  long long c = lane * LANES<T>;
  auto fetch = [&](long long from, Pack<T>(&to)[ROWS]) {
    if (whole) {
      load_weights(row, w_stride, from, columns, aligned, to);
    } else {
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        to[r] = load_some(row + (r < rows ? r : 0) * w_stride + from, columns - from);
      }
    }
  };
  fetch(c, weights);
  for (; c - lane * LANES<T> < columns; c += step) {
    Pack<T> ahead[ROWS];
    fetch(c + step, ahead);
    float a[ROWS][LANES<T>];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      unpack(weights[r], a[r]);
    }
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
      float b[LANES<T>];
      unpack(load_some(x + (t < tokens ? t : 0) * x_stride + c, columns - c), b);
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int j = 0; j < LANES<T>; j++) {
          sums[r][t] = fmaf(a[r][j], b[j], sums[r][t]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      weights[r] = ahead[r];
    }
  }
  float mine = 0.0f;
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
      const float sum = warp_sum(sums[r][t]);
      mine = lane == t * ROWS + r ? sum : mine;
    }
  }
  const int r = lane % ROWS;
  const int t = lane / ROWS;
  if (r < rows && t < tokens && t < TOKENS) {
    if (bias != nullptr) {
      mine += bias[first + r];
    }
    if (residual != nullptr) {
      mine += to_float(residual[t * residual_stride + first + r]);
    }
    y[t * y_stride + first + r] = from_float<T>(mine);
  }
}

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

/** bias (O) and residual (T, O) may be null; residual may be y. */
#define FEW(NAME, TYPE, TOKENS, ROWS)                                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                           \
      NAME(const TYPE* x, long long x_stride, const TYPE* w, long long w_stride, const float* bias,               \
           const TYPE* residual, long long residual_stride, TYPE* y, long long y_stride, int tokens,              \
           long long columns, long long outputs) {                                                                \
    few<TYPE, TOKENS, ROWS>(x, x_stride, w, w_stride, bias, residual, residual_stride, y, y_stride, tokens,       \
                            columns, outputs);                                                                    \
  }
FEW(linear_few_f32_1, float, 1, 1)
FEW(linear_few_f32_2, float, 2, 2)
FEW(linear_few_bf16_1, bf16, 1, 1)
FEW(linear_few_bf16_2, bf16, 2, 2)

#define START(NAME, TYPE)                                                                                         \
  extern "C" __global__ void __launch_bounds__(SUM_THREADS)                                                       \
      NAME(const float* bias, const TYPE* residual, long long residual_stride, TYPE* y, long long y_stride,       \
           long long columns) {                                                                                   \
    start(bias, residual, residual_stride, y, y_stride, columns);                                                 \
  }
START(linear_start_f32, float)
START(linear_start_bf16, bf16)

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

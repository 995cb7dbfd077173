// Elementwise activations: SPEC section 3.5. (rows, heads, columns) with any strides of rows and heads; the host makes
// one row of heads that lie side by side. Cut as tiles.cuh says. Everything is read before anything is written, by the
// thread that writes it, so y may be x and dx may be dy. Bytes: forward 2 tensors, backward 3; 5 to 40 FLOP an element.
// EXP takes the maximum of a row first: a warp to a row, which comes from the cache the second time.
// GELU of F32 is computed in double: Φ in F32 is not good to the 6 u that are asked for.
#include "tiles.cuh"

template <int F, class T>
DEVICE float value(float x) {
  if constexpr (F == act::GELU && sizeof(T) == 4) {
    return (float)(x * normcdf((double)x));
  }
  return activation(F, x);
}

template <int F, class T>
DEVICE float derivative(float x) {
  if constexpr (F == act::GELU && sizeof(T) == 4) {
    const double z = x;
    return (float)(normcdf(z) + z * (0.39894228040143267794 * exp(-0.5 * z * z)));
  }
  return activation_derivative(F, x);
}

template <int F, class T>
DEVICE void forward(const T* x, long long x_stride, long long x_head, T* y, long long y_stride, long long y_head,
                    long long rows, long long columns) {
  const Tile<T> tile(rows, columns);
  Pack<T> xs[ROWS];
  tile.load(x, x_stride, x_head, xs);
#pragma unroll
  for (int k = 0; k < ROWS; k++) {
    float v[LANES<T>];
    unpack(xs[k], v);
#pragma unroll
    for (int i = 0; i < LANES<T>; i++) {
      v[i] = value<F, T>(v[i]);
    }
    tile.store(y, y_stride, y_head, k, v);
  }
}

template <int F, class T>
DEVICE void backward(const T* x, long long x_stride, long long x_head, const T* dy, long long dy_stride,
                     long long dy_head, T* dx, long long dx_stride, long long dx_head, long long rows,
                     long long columns) {
  const Tile<T> tile(rows, columns);
  Pack<T> xs[ROWS], dys[ROWS];
  tile.load(x, x_stride, x_head, xs);
  tile.load(dy, dy_stride, dy_head, dys);
#pragma unroll
  for (int k = 0; k < ROWS; k++) {
    float v[LANES<T>], g[LANES<T>];
    unpack(xs[k], v);
    unpack(dys[k], g);
#pragma unroll
    for (int i = 0; i < LANES<T>; i++) {
      g[i] *= derivative<F, T>(v[i]);
    }
    tile.store(dx, dx_stride, dx_head, k, g);
  }
}

/** The maximum of a row that a warp has, NaN if there is one. */
template <class T>
DEVICE float row_max(const T* x, long long columns) {
  float max = -__int_as_float(0x7f800000);
  for (long long j = threadIdx.x; j < columns; j += 32) {
    max = max_or_nan(max, to_float(x[j]));
  }
  return warp_max(max);
}

/** y = e^(x - max), times dy where there is one. Block (32, y), grid (⌈rows / y⌉, 1, heads). */
template <class T>
DEVICE void exponential(const T* x, long long x_stride, long long x_head, const T* dy, long long dy_stride,
                        long long dy_head, T* y, long long y_stride, long long y_head, long long rows,
                        long long columns) {
  const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) {
    return;
  }
  x += row * x_stride + blockIdx.z * x_head;
  y += row * y_stride + blockIdx.z * y_head;
  const float max = row_max(x, columns);
  for (long long j = threadIdx.x; j < columns; j += 32) {
    const float e = expf(to_float(x[j]) - max);
    const float g = dy == nullptr ? 1.0f : to_float(dy[row * dy_stride + blockIdx.z * dy_head + j]);
    y[j] = from_float<T>(e * g);
  }
}

#define EACH_FUNCTION(CALL)                                                                                            \
  switch (f) {                                                                                                         \
    case act::GELU: CALL(act::GELU); break;                                                                            \
    case act::RELU: CALL(act::RELU); break;                                                                            \
    case act::ELU: CALL(act::ELU); break;                                                                              \
    case act::SIGMOID: CALL(act::SIGMOID); break;                                                                      \
    case act::LEAK: CALL(act::LEAK); break;                                                                            \
    case act::ONE_PLUS_ELU: CALL(act::ONE_PLUS_ELU); break;                                                            \
    case act::TWO_PLUS_ELU: CALL(act::TWO_PLUS_ELU); break;                                                            \
    case act::SILU: CALL(act::SILU); break;                                                                            \
    case act::SINE: CALL(act::SINE); break;                                                                            \
    default: CALL(act::IDENTITY); break;                                                                               \
  }

#define ACTIVATION_KERNELS(SUFFIX, T)                                                                                  \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      activation_forward_##SUFFIX(int f, const T* x, long long x_stride, long long x_head, T* y, long long y_stride,   \
                                  long long y_head, long long rows, long long columns) {                               \
    EACH_FUNCTION(FORWARD_##SUFFIX)                                                                                    \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      activation_backward_##SUFFIX(int f, const T* x, long long x_stride, long long x_head, const T* dy,               \
                                   long long dy_stride, long long dy_head, T* dx, long long dx_stride,                 \
                                   long long dx_head, long long rows, long long columns) {                             \
    EACH_FUNCTION(BACKWARD_##SUFFIX)                                                                                   \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      activation_exponential_##SUFFIX(const T* x, long long x_stride, long long x_head, const T* dy,                   \
                                      long long dy_stride, long long dy_head, T* y, long long y_stride,                \
                                      long long y_head, long long rows, long long columns) {                           \
    exponential<T>(x, x_stride, x_head, dy, dy_stride, dy_head, y, y_stride, y_head, rows, columns);                   \
  }

#define FORWARD(F, T) forward<F, T>(x, x_stride, x_head, y, y_stride, y_head, rows, columns)
#define BACKWARD(F, T) \
  backward<F, T>(x, x_stride, x_head, dy, dy_stride, dy_head, dx, dx_stride, dx_head, rows, columns)
#define FORWARD_f32(F) FORWARD(F, float)
#define FORWARD_bf16(F) FORWARD(F, bf16)
#define BACKWARD_f32(F) BACKWARD(F, float)
#define BACKWARD_bf16(F) BACKWARD(F, bf16)

ACTIVATION_KERNELS(f32, float)
ACTIVATION_KERNELS(bf16, bf16)

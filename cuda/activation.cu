// Elementwise activations: SPEC section 3.5. (rows, heads, columns) with any strides of rows and heads; the host makes
// one row of heads that lie side by side. Cut as tiles.cuh says. Everything is read before anything is written, by the
// thread that writes it, so y may be x and dx may be dy. Bytes: forward 2 tensors, backward 3; 5 to 40 FLOP an element.
// EXP takes the maximum of a row first: a warp to a row, which comes from the cache the second time.
// GELU is computed in double: Φ in F32 is not good to the 6 u that are asked for.
#include "tiles.cuh"

/** Not inlined: the compiler would take seconds. */
__device__ __noinline__ float gelu(float x) { return (float)(x * normcdf((double)x)); }

__device__ __noinline__ float gelu_derivative(float x) {
  const double z = x;
  return (float)(normcdf(z) + z * (0.39894228040143267794 * exp(-0.5 * z * z)));
}

template <int F>
DEVICE float value(float x) {
  return F == act::GELU ? gelu(x) : activation(F, x);
}

template <int F>
DEVICE float derivative(float x) {
  return F == act::GELU ? gelu_derivative(x) : activation_derivative(F, x);
}

/** Pieces of x become f(x). */
template <int F, class T>
DEVICE void apply(Pack<T> (&pieces)[ROWS]) {
#pragma unroll
  for (int k = 0; k < ROWS; k++) {
    float v[LANES<T>];
    unpack(pieces[k], v);
#pragma unroll
    for (int i = 0; i < LANES<T>; i++) {
      v[i] = value<F>(v[i]);
    }
    pieces[k] = pack(v);
  }
}

/** Pieces of dy become f'(x) dy. */
template <int F, class T>
DEVICE void apply_derivative(const Pack<T> (&xs)[ROWS], Pack<T> (&dys)[ROWS]) {
#pragma unroll
  for (int k = 0; k < ROWS; k++) {
    float v[LANES<T>], g[LANES<T>];
    unpack(xs[k], v);
    unpack(dys[k], g);
#pragma unroll
    for (int i = 0; i < LANES<T>; i++) {
      g[i] *= derivative<F>(v[i]);
    }
    dys[k] = pack(g);
  }
}

/** One function at a time between loads and stores that all share: the compiler would copy those otherwise. */
#define EACH_FUNCTION(CALL, ...)                                                                                       \
  switch (f) {                                                                                                         \
    case act::GELU: CALL<act::GELU>(__VA_ARGS__); break;                                                               \
    case act::RELU: CALL<act::RELU>(__VA_ARGS__); break;                                                               \
    case act::ELU: CALL<act::ELU>(__VA_ARGS__); break;                                                                 \
    case act::SIGMOID: CALL<act::SIGMOID>(__VA_ARGS__); break;                                                         \
    case act::LEAK: CALL<act::LEAK>(__VA_ARGS__); break;                                                               \
    case act::ONE_PLUS_ELU: CALL<act::ONE_PLUS_ELU>(__VA_ARGS__); break;                                               \
    case act::TWO_PLUS_ELU: CALL<act::TWO_PLUS_ELU>(__VA_ARGS__); break;                                               \
    case act::SILU: CALL<act::SILU>(__VA_ARGS__); break;                                                               \
    case act::SINE: CALL<act::SINE>(__VA_ARGS__); break;                                                               \
    default: break;                                                                                                    \
  }

template <class T>
DEVICE void forward(int f, const T* x, long long x_stride, long long x_head, T* y, long long y_stride,
                    long long y_head, long long rows, long long columns) {
  const Tile<T> tile(rows, columns);
  Pack<T> pieces[ROWS];
  tile.load(x, x_stride, x_head, pieces);
  EACH_FUNCTION(apply, pieces)
  tile.store(y, y_stride, y_head, pieces);
}

template <class T>
DEVICE void backward(int f, const T* x, long long x_stride, long long x_head, const T* dy, long long dy_stride,
                     long long dy_head, T* dx, long long dx_stride, long long dx_head, long long rows,
                     long long columns) {
  const Tile<T> tile(rows, columns);
  Pack<T> xs[ROWS], dys[ROWS];
  tile.load(x, x_stride, x_head, xs);
  tile.load(dy, dy_stride, dy_head, dys);
  EACH_FUNCTION(apply_derivative, xs, dys)
  tile.store(dx, dx_stride, dx_head, dys);
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

#define ACTIVATION_KERNELS(SUFFIX, T)                                                                                  \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      activation_forward_##SUFFIX(int f, const T* x, long long x_stride, long long x_head, T* y, long long y_stride,   \
                                  long long y_head, long long rows, long long columns) {                               \
    forward<T>(f, x, x_stride, x_head, y, y_stride, y_head, rows, columns);                                            \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      activation_backward_##SUFFIX(int f, const T* x, long long x_stride, long long x_head, const T* dy,               \
                                   long long dy_stride, long long dy_head, T* dx, long long dx_stride,                 \
                                   long long dx_head, long long rows, long long columns) {                             \
    backward<T>(f, x, x_stride, x_head, dy, dy_stride, dy_head, dx, dx_stride, dx_head, rows, columns);                \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      activation_exponential_##SUFFIX(const T* x, long long x_stride, long long x_head, const T* dy,                   \
                                      long long dy_stride, long long dy_head, T* y, long long y_stride,                \
                                      long long y_head, long long rows, long long columns) {                           \
    exponential<T>(x, x_stride, x_head, dy, dy_stride, dy_head, y, y_stride, y_head, rows, columns);                   \
  }

ACTIVATION_KERNELS(f32, float)
ACTIVATION_KERNELS(bf16, bf16)

// LRPE, the learned position weighting: y = x cos(θ p) ‖ x sin(θ p), and its gradient. SPEC section 3.2.
// x, dx (T, H, d), y, dy (T, H, 2d) with any strides of tokens and heads, θ (H, d) F32 with any stride of heads,
// positions (T). A thread takes one piece of 16 bytes of a head's channels, keeps their rates as quarter turns in double,
// and goes through tokens threadIdx.y + blockDim.y * blockIdx.x, and so on by blockDim.y * gridDim.x: neighbours have
// neighbouring pieces. blockIdx.y counts blockDim.x pieces of (H, d) at a time.
// Bytes: forward x and twice as much of y; backward x, 2 dy, dx. About 30 FLOP an element, 5 of them in double.
// dθ: a thread sums its tokens in order in F32 into row blockIdx.x * blockDim.y + threadIdx.y of `partial`, (rows, H * d);
// columnsums.cuh joins the rows. Which tokens these are depends on shapes only.
#include "columnsums.cuh"

constexpr int LRPE_THREADS = 256;
/** Tokens that are loaded before the first is used. */
constexpr int AHEAD = 2;

/** A tensor of (tokens, heads, channels). */
template <class T>
struct Heads {
  T* first;
  long long token_stride;
  long long head_stride;

  DEVICE T* at(long long token, int head, int channel) const {
    return first + token * token_stride + head * head_stride + channel;
  }
};

/** The channels of one thread. */
template <class T>
struct Channels {
  int head;
  int channel;
  /** How many there are, at most LANES; 0 or less for a thread that has none. */
  int count;
  double quarters[LANES<T>];

  DEVICE Channels(const float* theta, long long theta_stride, int heads, int channels) {
    const int pieces = (channels + LANES<T> - 1) / LANES<T>;
    const int piece = blockIdx.y * blockDim.x + threadIdx.x;
    head = piece / pieces;
    channel = (piece - head * pieces) * LANES<T>;
    count = head < heads ? channels - channel : 0;
#pragma unroll
    for (int i = 0; i < LANES<T>; i++) {
      quarters[i] = i < count ? quarter_turns(theta[head * theta_stride + channel + i]) : 0.0;
    }
  }
};

template <class T>
DEVICE void forward(Heads<const T> x, const float* theta, long long theta_stride, const int* positions, Heads<T> y,
                    long long tokens, int heads, int channels) {
  const Channels<T> mine(theta, theta_stride, heads, channels);
  const long long step = (long long)blockDim.y * gridDim.x;
  for (long long begin = (long long)blockIdx.x * blockDim.y + threadIdx.y; begin < tokens; begin += AHEAD * step) {
    Pack<T> xs[AHEAD];
    int ps[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const long long token = begin + k * step;
      xs[k] = load_some(x.at(token, mine.head, mine.channel), token < tokens ? mine.count : 0);
      ps[k] = token < tokens ? positions[token] : 0;
    }
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const long long token = begin + k * step;
      const int count = token < tokens ? mine.count : 0;
      float a[LANES<T>], b[LANES<T>];
      unpack(xs[k], a);
#pragma unroll
      for (int i = 0; i < LANES<T>; i++) {
        float cosine, sine;
        cos_sin(mine.quarters[i], ps[k], cosine, sine);
        b[i] = a[i] * sine;
        a[i] *= cosine;
      }
      store_some(y.at(token, mine.head, mine.channel), count, pack(a));
      store_some(y.at(token, mine.head, channels + mine.channel), count, pack(b));
    }
  }
}

template <class T>
DEVICE void backward(Heads<const T> x, const float* theta, long long theta_stride, const int* positions,
                     Heads<const T> dy, Heads<T> dx, float* partial, long long tokens, int heads, int channels) {
  const Channels<T> mine(theta, theta_stride, heads, channels);
  const long long part = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  const long long step = (long long)blockDim.y * gridDim.x;
  float sums[LANES<T>] = {};
  for (long long begin = part; begin < tokens; begin += AHEAD * step) {
    Pack<T> xs[AHEAD], as[AHEAD], bs[AHEAD];
    int ps[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const long long token = begin + k * step;
      const int count = token < tokens ? mine.count : 0;
      xs[k] = load_some(x.at(token, mine.head, mine.channel), count);
      as[k] = load_some(dy.at(token, mine.head, mine.channel), count);
      bs[k] = load_some(dy.at(token, mine.head, channels + mine.channel), count);
      ps[k] = token < tokens ? positions[token] : 0;
    }
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const long long token = begin + k * step;
      float v[LANES<T>], a[LANES<T>], b[LANES<T>];
      unpack(xs[k], v);
      unpack(as[k], a);
      unpack(bs[k], b);
#pragma unroll
      for (int i = 0; i < LANES<T>; i++) {
        float cosine, sine;
        cos_sin(mine.quarters[i], ps[k], cosine, sine);
        const float slope = b[i] * cosine - a[i] * sine;
        sums[i] = fmaf(v[i] * ps[k], slope, sums[i]);
        a[i] = a[i] * cosine + b[i] * sine;
      }
      store_some(dx.at(token, mine.head, mine.channel), token < tokens ? mine.count : 0, pack(a));
    }
  }
#pragma unroll
  for (int i = 0; i < LANES<T>; i++) {
    if (i < mine.count) {
      partial[(part * heads + mine.head) * channels + mine.channel + i] = sums[i];
    }
  }
}

#define LRPE_KERNELS(SUFFIX, T)                                                                                        \
  extern "C" __global__ void __launch_bounds__(LRPE_THREADS)                                                           \
      lrpe_forward_##SUFFIX(const T* x, long long x_token, long long x_head, const float* theta,                       \
                            long long theta_stride, const int* positions, T* y, long long y_token, long long y_head,   \
                            long long tokens, int heads, int channels) {                                               \
    forward<T>({x, x_token, x_head}, theta, theta_stride, positions, {y, y_token, y_head}, tokens, heads, channels);   \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(LRPE_THREADS)                                                           \
      lrpe_backward_##SUFFIX(const T* x, long long x_token, long long x_head, const float* theta,                      \
                             long long theta_stride, const int* positions, const T* dy, long long dy_token,            \
                             long long dy_head, T* dx, long long dx_token, long long dx_head, float* partial,          \
                             long long tokens, int heads, int channels) {                                              \
    backward<T>({x, x_token, x_head}, theta, theta_stride, positions, {dy, dy_token, dy_head},                         \
                {dx, dx_token, dx_head}, partial, tokens, heads, channels);                                            \
  }

LRPE_KERNELS(f32, float)
LRPE_KERNELS(bf16, bf16)

/** dθ += the partial sums. */
extern "C" __global__ void __launch_bounds__(COLUMNSUMS_WIDTH* COLUMNSUMS_HEIGHT)
    lrpe_add_sums(const float* partial, int parts, int heads, int channels, float* dtheta, long long dtheta_stride) {
  add_column_sums(partial, parts, heads, channels, dtheta, dtheta_stride);
}

// What the kernels share: bfloat16, 16-byte loads and stores, sums in a fixed tree, activations, phases of positions.
// No toolkit header is needed: the same text goes through NVRTC and through nvcc.
#pragma once

#include "ptx.cuh"

// ---- Element types ---------------------------------------------------------------------------------------------

/** The upper half of a binary32. */
struct bf16 {
  unsigned short bits;
};

DEVICE float to_float(float x) { return x; }

DEVICE float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

/** a in the lower half and b in the upper, rounded to nearest, ties to even; NaN stays NaN, overflow is infinity. */
DEVICE unsigned to_bf16_pair(float a, float b) { return cvt_bf16x2(a, b); }

template <class T>
DEVICE T from_float(float x);

template <>
DEVICE float from_float<float>(float x) {
  return x;
}

template <>
DEVICE bf16 from_float<bf16>(float x) {
  return bf16{(unsigned short)to_bf16_pair(x, 0.0f)};
}

// ---- 16 bytes at a time ----------------------------------------------------------------------------------------

/** Elements of 16 bytes. */
template <class T>
constexpr int LANES = 16 / (int)sizeof(T);

/** LANES elements as they lie in memory: loaded ones stay packed until they are used, so that loads do not wait. */
template <class T>
struct Pack {
  uint4 raw;
};

DEVICE void unpack(Pack<float> p, float (&x)[4]) {
  x[0] = __uint_as_float(p.raw.x);
  x[1] = __uint_as_float(p.raw.y);
  x[2] = __uint_as_float(p.raw.z);
  x[3] = __uint_as_float(p.raw.w);
}

DEVICE void unpack(Pack<bf16> p, float (&x)[8]) {
  const unsigned words[4] = {p.raw.x, p.raw.y, p.raw.z, p.raw.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x[2 * i] = __uint_as_float(words[i] << 16);
    x[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

DEVICE Pack<float> pack(const float (&x)[4]) {
  return {make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3]))};
}

/** Each rounded once. */
DEVICE Pack<bf16> pack(const float (&x)[8]) {
  return {make_uint4(to_bf16_pair(x[0], x[1]), to_bf16_pair(x[2], x[3]), to_bf16_pair(x[4], x[5]),
                     to_bf16_pair(x[6], x[7]))};
}

/** x ⊙ y, each rounded once. */
template <class T>
DEVICE Pack<T> times(Pack<T> x, Pack<T> y) {
  float v[LANES<T>], w[LANES<T>];
  unpack(x, v);
  unpack(y, w);
#pragma unroll
  for (int i = 0; i < LANES<T>; i++) {
    v[i] *= w[i];
  }
  return pack(v);
}

DEVICE bool aligned16(const void* p) { return ((unsigned long long)p & 15) == 0; }

/** LANES elements from p on, which is aligned to 16 bytes. */
template <class T>
DEVICE Pack<T> load(const T* p) {
  return {*reinterpret_cast<const uint4*>(p)};
}

template <class T>
DEVICE void store(T* p, Pack<T> x) {
  *reinterpret_cast<uint4*>(p) = x.raw;
}

/**
 * The first `count` of LANES elements from p on, which may have any alignment, the others 0; count may be negative.
 * Within a row all pieces have the alignment of the first, so a warp does not diverge but at the row's end.
 */
template <class T>
DEVICE Pack<T> load_some(const T* p, long long count) {
  if (count >= LANES<T> && aligned16(p)) {
    return load(p);
  }
  unsigned words[4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < LANES<T>; i++) {
    if (i < count) {
      if constexpr (sizeof(T) == 4) {
        words[i] = __float_as_uint(p[i]);
      } else {
        words[i / 2] |= (unsigned)p[i].bits << (16 * (i % 2));
      }
    }
  }
  return {make_uint4(words[0], words[1], words[2], words[3])};
}

template <class T>
DEVICE void store_some(T* p, long long count, Pack<T> x) {
  if (count >= LANES<T> && aligned16(p)) {
    store(p, x);
    return;
  }
  const unsigned words[4] = {x.raw.x, x.raw.y, x.raw.z, x.raw.w};
#pragma unroll
  for (int i = 0; i < LANES<T>; i++) {
    if (i < count) {
      if constexpr (sizeof(T) == 4) {
        p[i] = __uint_as_float(words[i]);
      } else {
        p[i].bits = (unsigned short)(words[i / 2] >> (16 * (i % 2)));
      }
    }
  }
}

// ---- Sums in a fixed tree --------------------------------------------------------------------------------------

constexpr unsigned ALL_LANES = 0xffffffffu;

/** The sum over a warp, the same bits in every lane: at each step both partners add the same two numbers. */
template <class S>
DEVICE S warp_sum(S x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    x += __shfl_xor_sync(ALL_LANES, x, step);
  }
  return x;
}

/** NaN if any is NaN. */
DEVICE float max_or_nan(float a, float b) { return a != a || a > b ? a : b; }

/** The maximum over a warp, NaN if any is NaN. */
DEVICE float warp_max(float x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    x = max_or_nan(x, __shfl_xor_sync(ALL_LANES, x, step));
  }
  return x;
}

/**
 * N sums over a block of THREADS, a multiple of 32, the same bits in every thread: warps first, then the warps' sums
 * by the same tree. Contains two barriers, so `scratch`, N * 32 numbers of shared memory, may be used again at once.
 */
template <int THREADS, int N, class S>
DEVICE void block_sum(S (&x)[N], S* scratch) {
  static_assert(THREADS % 32 == 0 && THREADS <= 1024, "whole warps");
  constexpr int WARPS = THREADS / 32;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < N; i++) {
    x[i] = warp_sum(x[i]);
  }
  if constexpr (WARPS > 1) {
    if (lane == 0) {
#pragma unroll
      for (int i = 0; i < N; i++) {
        scratch[32 * i + threadIdx.x / 32] = x[i];
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++) {
      x[i] = warp_sum(lane < WARPS ? scratch[32 * i + lane] : S(0));
    }
    __syncthreads();
  }
}

// ---- Phases of positions (LRPE) --------------------------------------------------------------------------------

/** θ in quarter turns a position: θ · 2/π. Made once per channel. */
DEVICE double quarter_turns(float theta) { return (double)theta * 0.63661977236758134308; }

/**
 * Cosine and sine of θ p, |θ p| < 2^50, good to 1e-7 absolute. The phase is formed and reduced in double, less than an
 * eighth of a turn is left of it; p may be any int.
 */
DEVICE void cos_sin(double quarters, double p, float& cosine, float& sine) {
  const double phase = quarters * p;
  const double shifted = phase + 6755399441055744.0;  // 1.5 · 2^52: the sum is rounded to a whole number
  const int n = __double2loint(shifted);
  const float r = (float)((phase - (shifted - 6755399441055744.0)) * 1.57079632679489661923);
  const float z = r * r;
  const float s = fmaf(r * z, fmaf(z, fmaf(z, -0x1.994b4p-13f, 0x1.110756p-7f), -0x1.555546p-3f), r);
  const float c =
      fmaf(z, fmaf(z, fmaf(z, fmaf(z, 0x1.99ff4p-16f, -0x1.6c0c82p-10f), 0x1.55554ap-5f), -0.5f), 1.0f);
  const float even = n & 1 ? s : c;
  const float odd = n & 1 ? c : s;
  cosine = (n + 1) & 2 ? -even : even;
  sine = n & 2 ? -odd : odd;
}

// ---- Activation functions --------------------------------------------------------------------------------------

/** The ordinals of Java's ActivationFunction. */
namespace act {
enum : int { GELU, RELU, ELU, SIGMOID, EXP, LEAK, ONE_PLUS_ELU, TWO_PLUS_ELU, SILU, SINE, IDENTITY };
}

/** n / d for d in [1, 2], good to 1.01 u, without the branches of a division of any numbers. */
DEVICE float quotient(float n, float d) {
  float r = rcp_approx(d);
  r = fmaf(fmaf(-d, r, 1.0f), r, r);
  const float q = n * r;
  return fmaf(fmaf(-d, q, n), r, q);
}

/** 1 / (1 + e^-x), from e^-|x|, which does not overflow. */
DEVICE float sigmoid(float x) {
  const float z = expf(-fabsf(x));
  return quotient(x < 0.0f ? z : 1.0f, 1.0f + z);
}

/**
 * f(x), good to 6 u; GELU to 12 u, sine to 1e-7 absolute where |x| < 2^50. For EXP e^x: the caller takes the maximum
 * off. Costs nothing beyond its own case where f is known at compile time.
 */
DEVICE float activation(int f, float x) {
  switch (f) {
    case act::GELU: return x * normcdff(x);
    case act::RELU: return x > 0.0f || x != x ? x : 0.0f;
    case act::ELU: return x > 0.0f ? x : expm1f(x);
    case act::SIGMOID: return sigmoid(x);
    case act::EXP: return expf(x);
    case act::LEAK: return x > 0.0f ? x : 0.01f * x;
    case act::ONE_PLUS_ELU: return x > 0.0f ? 1.0f + x : expf(x);
    case act::TWO_PLUS_ELU: return x > 0.0f ? 2.0f + x : 1.0f + expf(x);
    case act::SILU: return x * sigmoid(x);
    case act::SINE: {
      float cosine, sine;
      cos_sin(0.63661977236758134308, x, cosine, sine);
      return sine;
    }
    default: return x;
  }
}

/** f'(x). */
DEVICE float activation_derivative(int f, float x) {
  switch (f) {
    case act::GELU: return normcdff(x) + x * (0.39894228f * expf(-0.5f * x * x));
    case act::RELU: return x > 0.0f ? 1.0f : 0.0f;
    case act::ELU:
    case act::ONE_PLUS_ELU:
    case act::TWO_PLUS_ELU: return x > 0.0f ? 1.0f : expf(x);
    case act::LEAK: return x > 0.0f ? 1.0f : 0.01f;
    case act::SINE: {
      float cosine, sine;
      cos_sin(0.63661977236758134308, x, cosine, sine);
      return cosine;
    }
    case act::EXP: return expf(x);
    case act::SIGMOID:
    case act::SILU: {
      const float z = expf(-fabsf(x));
      const float near = quotient(1.0f, 1.0f + z);
      const float far = z * near;
      // σ(|x|) = near, σ(-|x|) = far
      return f == act::SIGMOID ? near * far : fmaf(x, x < 0.0f ? near : far, 1.0f) * (x < 0.0f ? far : near);
    }
    default: return 1.0f;
  }
}

// Softmax cross-entropy. SPEC section 3.8.
//
//   m_t = max_i z_ti    s_t = Σ_i exp(z_ti - m_t)    loss_t = ln s_t + (m_t - z_t,target)
//   dz_ti = scale · (exp(z_ti - m_t) / s_t - [i = target_t])
//
// logits z and dlogits dz (T, width) float or bf16, rows at any distance, of which the first `columns` count; targets (T)
// int; max, sum, target and losses (T), scale and total (1), each float or double as the bits of `wide` say.
//
// loss_rows_*: a block takes a row, and then the row gridDim.x further on. It does `partial`, or all there is to do on one
// rank. `small` (256 threads) and `large` (1024) keep the row in shared memory: logits are read once and dlogits written
// once, and while a thread writes its part of the gradient the same part of the next row is fetched into its place. `huge`
// is for rows that do not fit: it reads a row three times, the later times mostly from the L2 cache.
// loss_apply_*: a block of 256 threads a row, one read and one write.
// Bytes: 2 · columns elements a row with the gradient, half of that without.
//
// Sums: a thread takes every THREADS-th piece of 16 bytes. F32 logits: exponentials good to 1.5 u, summed in double. BF16
// logits: eight exponentials in F32, such sums in double; a piece that holds the maximum in double at once, so that a
// loss far below 1e-7 keeps its digits. The threads' sums go up a fixed tree: bits depend on shapes only.
// dlogits may be logits: an element is read and written by one thread.

#include "common.cuh"

namespace {

constexpr int IGNORE = -100;

/** Which numbers per token are double. */
enum Wide { MAX = 1, SUM = 2, TARGET = 4, SCALE = 8, LOSSES = 16 };

DEVICE double number(const void* p, long long i, int wide) {
  return wide ? static_cast<const double*>(p)[i] : static_cast<const float*>(p)[i];
}

DEVICE void set_number(void* p, long long i, int wide, double x) {
  if (wide) {
    static_cast<double*>(p)[i] = x;
  } else {
    static_cast<float*>(p)[i] = (float)x;
  }
}

DEVICE float minus_infinity() { return __uint_as_float(0xff800000u); }

/** e^x of x ≤ 0, good to 1.5 u where the result is normal: the CPU's, bit for bit. */
DEVICE float exponential(float x) {
  const float z = x < -104.0f ? -104.0f : x;
  const float rounded = fmaf(z, 0x1.715476p0f, 0x1.8p23f);
  const float n = __fsub_rn(rounded, 0x1.8p23f);
  const float r = fmaf(n, 0x1.05c61p-29f, fmaf(n, -0x1.62e43p-1f, z));
  const float p =
      fmaf(r, fmaf(r, fmaf(r, fmaf(r, 0x1.6a2434p-10f, 0x1.1239e2p-7f), 0x1.5558f2p-5f), 0x1.555492p-3f),
           0x1.fffffcp-2f);
  const float e = __fadd_rn(fmaf(__fmul_rn(r, r), p, r), 1.0f);
  const int whole = __float_as_int(rounded) - 0x4b400000;
  const int half = whole >> 1;
  return __fmul_rn(__fmul_rn(e, __int_as_float((half + 127) << 23)), __int_as_float((whole - half + 127) << 23));
}

/** e^x for a result that is rounded to bf16: good to (2 + 2 |x|) u. */
DEVICE float rough_exponential(float x) {
  return ex2_approx(x * 1.44269504f);
}

// ---- The maximum -----------------------------------------------------------------------------------------------

/** Of four floats. */
DEVICE float largest(Pack<float> p) {
  float x[4];
  unpack(p, x);
  return max_nan(max_nan(x[0], x[1]), max_nan(x[2], x[3]));
}

/** Of eight bf16, two at a time. */
DEVICE float largest(Pack<bf16> p) {
  const unsigned pair = max_nan_bf16x2(max_nan_bf16x2(p.raw.x, p.raw.y), max_nan_bf16x2(p.raw.z, p.raw.w));
  return max_nan(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

template <int THREADS>
DEVICE float block_max(float x, float* scratch) {
  constexpr int WARPS = THREADS / 32;
  const int lane = threadIdx.x % 32;
  x = warp_max(x);
  if (lane == 0) {
    scratch[threadIdx.x / 32] = x;
  }
  __syncthreads();
  x = warp_max(lane < WARPS ? scratch[lane] : minus_infinity());
  __syncthreads();
  return x;
}

// ---- Pieces of a row: 16 bytes ---------------------------------------------------------------------------------

/** The first `count` elements from z on; behind them -∞, which adds nothing to maximum and sum. */
template <class T>
DEVICE Pack<T> piece(const T* z, int count) {
  const Pack<T> p = load_some(z, count);
  if (count >= LANES<T>) {
    return p;
  }
  float x[LANES<T>];
  unpack(p, x);
#pragma unroll
  for (int i = 0; i < LANES<T>; i++) {
    x[i] = i < count ? x[i] : minus_infinity();
  }
  return pack(x);
}

/** The same into shared memory, at some later time if it can. */
template <class T>
DEVICE void fetch(const T* z, int count, Pack<T>* to) {
  if (count >= LANES<T> && aligned16(z)) {
    copy16(shared_address(to), z, true);
  } else {
    *to = piece(z, count);
  }
}

DEVICE double exponentials(Pack<float> p, float m) {
  float x[4];
  unpack(p, x);
  const double low = (double)exponential(x[0] - m) + (double)exponential(x[1] - m);
  return low + ((double)exponential(x[2] - m) + (double)exponential(x[3] - m));
}

DEVICE double exponentials(Pack<bf16> p, float m) {
  const bool top = !(largest(p) < m);
  float x[8];
  unpack(p, x);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    x[i] = expf(x[i] - m);
  }
  if (top) {
    double sum = 0.0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      sum += (double)x[i];
    }
    return sum;
  }
  return (double)(((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7])));
}

DEVICE float softmax(float, float d, float factor) { return exponential(d) * factor; }

DEVICE float softmax(bf16, float d, float factor) { return rough_exponential(d) * factor; }

/** What the gradient of a row is made of. */
struct Gradient {
  double scale;
  double m;
  double s;
  /** scale / s */
  float factor;
  /** The target's column, or -1. */
  int target;
};

DEVICE Gradient gradient_of(int target, long long first, int columns, double scale, double m, double s) {
  const long long i = target - first;
  return {scale, m, s, (float)(scale / s), i >= 0 && i < columns ? (int)i : -1};
}

/** dz of the piece that begins with column i; the target's entry in double, where it does not cancel. */
template <class T>
DEVICE Pack<T> gradient(Pack<T> z, int i, const Gradient& g) {
  float x[LANES<T>];
  unpack(z, x);
  double exact = 0.0;
  const bool here = g.target >= i && g.target < i + LANES<T>;
  const int at = here ? g.target - i : -1;
#pragma unroll
  for (int j = 0; j < LANES<T>; j++) {
    exact = j == at ? x[j] : exact;
    x[j] = softmax(T(), x[j] - (float)g.m, g.factor);
  }
  if (here) {
    exact = g.scale * ((exp(exact - g.m) - g.s) / g.s);
#pragma unroll
    for (int j = 0; j < LANES<T>; j++) {
      x[j] = j == at ? (float)exact : x[j];
    }
  }
  return pack(x);
}

template <class T, int THREADS>
DEVICE void zeros(T* row, int from, int to) {
  for (int i = from + threadIdx.x; i < to; i += THREADS) {
    row[i] = from_float<T>(0.0f);
  }
}

// ---- Rows ------------------------------------------------------------------------------------------------------

template <class T, int THREADS, bool KEPT>
DEVICE void rows(const T* logits, long long logits_stride, const int* targets, long long tokens, long long first,
                 int columns, int width, int wide, void* max, void* sum, void* target, const void* scale,
                 void* losses, T* dlogits, long long dlogits_stride) {
  extern __shared__ uint4 shared_row[];
  __shared__ float maxima[32];
  __shared__ double sums[32];
  Pack<T>* kept = reinterpret_cast<Pack<T>*>(shared_row);
  const int pieces = (columns + LANES<T> - 1) / LANES<T>;
  if constexpr (KEPT) {
    if (blockIdx.x < tokens) {
      const T* z = logits + blockIdx.x * logits_stride;
      for (int i = threadIdx.x; i < pieces; i += THREADS) {
        fetch(z + i * LANES<T>, columns - i * LANES<T>, kept + i);
      }
    }
  }
  for (long long t = blockIdx.x; t < tokens; t += gridDim.x) {
    const T* z = logits + t * logits_stride;
    const T* next = t + gridDim.x < tokens ? z + gridDim.x * logits_stride : nullptr;
    auto at = [&](int i) {
      return KEPT ? kept[i] : piece(z + i * LANES<T>, columns - i * LANES<T>);
    };
    auto fetch_next = [&](int i) {
      if (KEPT && next != nullptr) {
        fetch(next + i * LANES<T>, columns - i * LANES<T>, kept + i);
      }
    };
    if constexpr (KEPT) {
      wait_copies();
    }
    float m = minus_infinity();
#pragma unroll 4
    for (int i = threadIdx.x; i < pieces; i += THREADS) {
      m = max_nan(m, largest(at(i)));
    }
    m = block_max<THREADS>(m, maxima);
    const int label = targets[t];
    const long long own = label - first;
    double z_target = 0.0;
    if (threadIdx.x == 0 && own >= 0 && own < columns) {
      z_target = to_float(KEPT ? reinterpret_cast<const T*>(kept)[own] : z[own]);
    }
    double s[1] = {0.0};
#pragma unroll 2
    for (int i = threadIdx.x; i < pieces; i += THREADS) {
      s[0] += exponentials(at(i), m);
    }
    block_sum<THREADS>(s, sums);
    if (threadIdx.x == 0) {
      set_number(max, t, wide & MAX, m);
      set_number(sum, t, wide & SUM, s[0]);
      set_number(target, t, wide & TARGET, z_target);
      if (losses != nullptr) {
        set_number(losses, t, wide & LOSSES, label == IGNORE ? 0.0 : log(s[0]) + ((double)m - z_target));
      }
    }
    if (dlogits == nullptr) {
      for (int i = threadIdx.x; i < pieces; i += THREADS) {
        fetch_next(i);
      }
      continue;
    }
    T* dz = dlogits + t * dlogits_stride;
    if (label == IGNORE) {
      for (int i = threadIdx.x; i < pieces; i += THREADS) {
        store_some(dz + i * LANES<T>, columns - i * LANES<T>, Pack<T>{make_uint4(0, 0, 0, 0)});
        fetch_next(i);
      }
    } else {
      const Gradient g = gradient_of(label, first, columns, number(scale, 0, wide & SCALE), m, s[0]);
#pragma unroll 1
      for (int i = threadIdx.x; i < pieces; i += THREADS) {
        const Pack<T> d = gradient(at(i), i * LANES<T>, g);
        store_some(dz + i * LANES<T>, columns - i * LANES<T>, d);
        fetch_next(i);
      }
    }
    zeros<T, THREADS>(dz, columns, width);
  }
}

template <class T>
DEVICE void apply(const T* logits, long long logits_stride, const int* targets, long long first, int columns,
                  int width, int wide, const void* max, const void* sum, const void* target, const void* scale,
                  void* losses, T* dlogits, long long dlogits_stride) {
  constexpr int THREADS = 256;
  const long long t = blockIdx.x;
  const int label = targets[t];
  const double m = number(max, t, wide & MAX);
  const double s = number(sum, t, wide & SUM);
  if (threadIdx.x == 0) {
    set_number(losses, t, wide & LOSSES, label == IGNORE ? 0.0 : log(s) + (m - number(target, t, wide & TARGET)));
  }
  if (dlogits == nullptr) {
    return;
  }
  const T* z = logits + t * logits_stride;
  T* dz = dlogits + t * dlogits_stride;
  if (label == IGNORE) {
    zeros<T, THREADS>(dz, 0, width);
    return;
  }
  const Gradient g = gradient_of(label, first, columns, number(scale, 0, wide & SCALE), m, s);
  constexpr int AHEAD = 4;
  constexpr int STEP = THREADS * LANES<T>;
  for (int i = threadIdx.x * LANES<T>; i < columns; i += AHEAD * STEP) {
    Pack<T> x[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      x[k] = load_some(z + i + k * STEP, columns - i - k * STEP);
    }
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      if (i + k * STEP < columns) {
        store_some(dz + i + k * STEP, columns - i - k * STEP, gradient(x[k], i + k * STEP, g));
      }
    }
  }
  zeros<T, THREADS>(dz, columns, width);
}

}  // namespace

#define ROWS(NAME, TYPE, THREADS, KEPT)                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                           \
      NAME(const TYPE* logits, long long logits_stride, const int* targets, long long tokens, long long first,    \
           int columns, int width, int wide, void* max, void* sum, void* target, const void* scale,               \
           void* losses, TYPE* dlogits, long long dlogits_stride) {                                               \
    rows<TYPE, THREADS, KEPT>(logits, logits_stride, targets, tokens, first, columns, width, wide, max, sum,      \
                              target, scale, losses, dlogits, dlogits_stride);                                    \
  }
ROWS(loss_rows_small_f32, float, 256, true)
ROWS(loss_rows_small_bf16, bf16, 256, true)
ROWS(loss_rows_large_f32, float, 1024, true)
ROWS(loss_rows_large_bf16, bf16, 1024, true)
ROWS(loss_rows_huge_f32, float, 1024, false)
ROWS(loss_rows_huge_bf16, bf16, 1024, false)

#define APPLY(NAME, TYPE)                                                                                         \
  extern "C" __global__ void __launch_bounds__(256)                                                               \
      NAME(const TYPE* logits, long long logits_stride, const int* targets, long long first, int columns,         \
           int width, int wide, const void* max, const void* sum, const void* target, const void* scale,          \
           void* losses, TYPE* dlogits, long long dlogits_stride) {                                               \
    apply(logits, logits_stride, targets, first, columns, width, wide, max, sum, target, scale, losses, dlogits,  \
          dlogits_stride);                                                                                        \
  }
APPLY(loss_apply_f32, float)
APPLY(loss_apply_bf16, bf16)

/** sum ← sum · exp(max - global_max), in double. `wide`: MAX for max, SUM for sum, TARGET for global_max. */
extern "C" __global__ void __launch_bounds__(256)
    loss_rescale(const void* max, const void* global_max, void* sum, long long tokens, int wide) {
  const long long t = (long long)blockIdx.x * 256 + threadIdx.x;
  if (t < tokens) {
    const double by = exp(number(max, t, wide & MAX) - number(global_max, t, wide & TARGET));
    set_number(sum, t, wide & SUM, number(sum, t, wide & SUM) * by);
  }
}

/** total += Σ losses, by one block: 1024 sums of every 1024th loss, joined in a tree. `wide`: LOSSES, SUM for total. */
extern "C" __global__ void __launch_bounds__(1024)
    loss_total(const void* losses, long long tokens, void* total, int wide) {
  __shared__ double sums[32];
  double sum[1] = {0.0};
#pragma unroll 4
  for (long long t = threadIdx.x; t < tokens; t += 1024) {
    sum[0] += number(losses, t, wide & LOSSES);
  }
  block_sum<1024>(sum, sums);
  if (threadIdx.x == 0) {
    set_number(total, 0, wide & SUM, number(total, 0, wide & SUM) + sum[0]);
  }
}

// AdamW and the norm of the gradient. SPEC section 3.9.
//
//   g ← clip · g    m ← m + (1-β₁)(g - m)    v ← v + (1-β₂)(g² - v)    w ← w - lr λ w - lr (m / c₁) / (√(v / c₂) + ε)
//
// adamw_step_*: a thread takes 4 neighbouring elements twice. Reads master, m, v, g and writes master, m, v (float) and the
// weight (bf16, rounded once; float; or none, where it is the master itself): 30 bytes an element for bf16, 28 or 32 for
// float. lr, c₁, c₂ and clip are read from device memory, so a step can be recorded. Bits are the vector twin's.
//
// adamw_norm_partial: blocks of 1024 threads sum g² in double (squares of floats are exact), each over a range of the
// tensor, as many as its size says; adamw_norm_join adds their sums to the total in a fixed tree. 4 bytes an element.

#include "common.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int NORM_THREADS = 1024;
constexpr int UNROLL = 2;

/** What one update needs of constants and scalars, rounded as the CPU's vector twin rounds. */
struct Update {
  float clip;
  float toward1;
  float toward2;
  float decay;
  float rate;
  float root;
  float epsilon;
};

/** scalars: lr, c₁, c₂, clip. */
DEVICE Update update_of(const double* scalars, float toward1, float toward2, float epsilon, double weight_decay) {
  const double lr = scalars[0];
  return {(float)scalars[3],      toward1, toward2, (float)(-lr * weight_decay), (float)(-lr / scalars[1]),
          (float)(1.0 / sqrt(scalars[2])), epsilon};
}

/** One element. */
DEVICE void update(const Update& u, float& w, float gradient, float& m, float& v) {
  const float g = __fmul_rn(gradient, u.clip);
  m = fmaf(__fsub_rn(g, m), u.toward1, m);
  v = fmaf(fmaf(g, g, -v), u.toward2, v);
  w = fmaf(w, u.decay, w);
  w = fmaf(__fdiv_rn(m, fmaf(__fsqrt_rn(v), u.root, u.epsilon)), u.rate, w);
}

DEVICE void store_weights(float* to, const float (&w)[4]) { store(to, pack(w)); }

DEVICE void store_weights(bf16* to, const float (&w)[4]) {
  *reinterpret_cast<uint2*>(to) = make_uint2(to_bf16_pair(w[0], w[1]), to_bf16_pair(w[2], w[3]));
}

template <class W>
DEVICE void step(float* master, W* weight, const float* gradient, float* m, float* v, long long size, int wide,
                 const double* scalars, float toward1, float toward2, float epsilon, double weight_decay) {
  __shared__ Update shared;
  const long long block = (long long)blockIdx.x * (THREADS * 4 * UNROLL);
  Pack<float> packs[UNROLL][4];
#pragma unroll
  for (int k = 0; k < UNROLL; k++) {
    const long long i = block + (k * THREADS + threadIdx.x) * 4;
    if (wide && i + 4 <= size) {
      packs[k][0] = load(gradient + i);
      packs[k][1] = load(master + i);
      packs[k][2] = load(m + i);
      packs[k][3] = load(v + i);
    }
  }
  // While the loads are under way: divisions and a root in double are slow.
  if (threadIdx.x == 0) {
    shared = update_of(scalars, toward1, toward2, epsilon, weight_decay);
  }
  __syncthreads();
  const Update u = shared;
#pragma unroll
  for (int k = 0; k < UNROLL; k++) {
    const long long i = block + (k * THREADS + threadIdx.x) * 4;
    if (wide && i + 4 <= size) {
      float g[4], w[4], mean[4], square[4];
      unpack(packs[k][0], g);
      unpack(packs[k][1], w);
      unpack(packs[k][2], mean);
      unpack(packs[k][3], square);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        update(u, w[j], g[j], mean[j], square[j]);
      }
      store(master + i, pack(w));
      store(m + i, pack(mean));
      store(v + i, pack(square));
      if (weight != nullptr) {
        store_weights(weight + i, w);
      }
    } else {
      for (long long j = i; j < i + 4 && j < size; j++) {
        float w = master[j];
        update(u, w, gradient[j], m[j], v[j]);
        master[j] = w;
        if (weight != nullptr) {
          weight[j] = from_float<W>(w);
        }
      }
    }
  }
}

}  // namespace

/**
 * wide: all pointers are aligned to 4 elements. weight may be null: the master is the weight. toward1, toward2: 1 - β.
 * weight_decay: 0 where the tensor does not decay.
 */
#define STEP(NAME, WEIGHT)                                                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                           \
      NAME(float* master, WEIGHT* weight, const float* gradient, float* m, float* v, long long size, int wide,    \
           const double* scalars, float toward1, float toward2, float epsilon, double weight_decay) {             \
    step(master, weight, gradient, m, v, size, wide, scalars, toward1, toward2, epsilon, weight_decay);           \
  }
STEP(adamw_step_f32, float)
STEP(adamw_step_bf16, bf16)

/** sums[block] = Σ g² of elements [block · range, block · range + range); range is a multiple of 4. */
extern "C" __global__ void __launch_bounds__(NORM_THREADS)
    adamw_norm_partial(const float* gradient, long long size, long long range, double* sums) {
  __shared__ double scratch[32];
  constexpr int AHEAD = 4;
  const long long from = blockIdx.x * range;
  const long long to = min(size, from + range);
  double sum[1] = {0.0};
  for (long long i = from + threadIdx.x * 4; i < to; i += AHEAD * NORM_THREADS * 4) {
    Pack<float> packs[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const long long j = i + k * NORM_THREADS * 4;
      packs[k] = load_some(gradient + j, to - j);
    }
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      float g[4];
      unpack(packs[k], g);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        sum[0] = fma((double)g[j], (double)g[j], sum[0]);
      }
    }
  }
  block_sum<NORM_THREADS>(sum, scratch);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum[0];
  }
}

/** total += Σ sums, at most 1024 of them, by one block. */
extern "C" __global__ void __launch_bounds__(NORM_THREADS) adamw_norm_join(const double* sums, int count, double* total) {
  __shared__ double scratch[32];
  double sum[1] = {threadIdx.x < count ? sums[threadIdx.x] : 0.0};
  block_sum<NORM_THREADS>(sum, scratch);
  if (threadIdx.x == 0) {
    *total += sum[0];
  }
}

/** norm = √total, clip = min(1, limit / (norm + 1e-6)), or 1 without a limit. One thread. */
extern "C" __global__ void adamw_norm_apply(const double* total, double limit, double* norm, double* clip) {
  const double n = sqrt(*total);
  const double c = limit / (n + 1e-6);
  *norm = n;
  // Not fmin: a NaN must stay one.
  *clip = limit == 0.0 ? 1.0 : c < 1.0 || c != c ? c : 1.0;
}

// Lightning Attention, plain kernels: the sweep of lightning.cuh for any head widths, F32 or BF16, arithmetic in F32; the
// scan between the runs of a cut sweep; and the recurrence for sequences of one token. SPEC section 3.3.6.
#include "lightning.cuh"

namespace {

/** Columns of c, y and the state of a block. */
constexpr int COLUMNS = 32;
/** Channels of a and b at a time. */
constexpr int SLICE = 32;
/** Row of a slice in shared memory: 16 threads that read 16 bytes each of 16 rows meet no bank twice. */
constexpr int PITCH = SLICE + 4;
constexpr int SCORES_PITCH = CHUNK + 4;
constexpr int THREADS = 256;

/** x[rows][WIDTH], rows PITCH apart, from channel `first` on; zeros beyond `width` and beyond m tokens. */
template <int WIDTH, int ROW, class T>
DEVICE void stage(float* x, const Operand<T>& from, int h, const Item& item, int base, int m, int first, int width,
                  const int* mask) {
  constexpr int PACKS = WIDTH / LANES<T>;
  for (int i = threadIdx.x; i < CHUNK * PACKS; i += THREADS) {
    const int t = i / PACKS;
    const int j = i % PACKS * LANES<T>;
    float values[LANES<T>] = {};
    if (t < m) {
      const long long row = item.row(base + t);
      if (mask == nullptr || mask[row] != 0) {
        const int left = width - first - j;
        unpack(load_some(from.p + row * from.token + h * from.head + first + j, left), values);
        if (from.f != act::IDENTITY) {
#pragma unroll
          for (int u = 0; u < LANES<T>; u++) {
            values[u] = u < left ? activation(from.f, values[u]) : 0.0f;
          }
        }
      }
    }
#pragma unroll
    for (int u = 0; u < LANES<T>; u += 4) {
      *reinterpret_cast<float4*>(x + t * ROW + j + u) = make_float4(values[u], values[u + 1], values[u + 2], values[u + 3]);
    }
  }
}

/**
 * A block takes 32 columns of one head of one item through its chunks of 64 tokens; 256 threads. In shared memory: the
 * state's columns, slices of 32 channels of a and b, the columns of c. Per chunk 2·64·K·(64 + 32 + 32) + 64·64·32 FLOPs
 * and, beyond the columns of c and y, the whole rows of a and b, which blocks beside this one find in L2.
 */
template <class T>
DEVICE void sweep(Operand<const T> a, Operand<const T> b, Operand<const T> c, Operand<T> y, Operand<const T> x,
                  const float* rates, const int* offsets, const int* slots, const int* mask, const float* initial,
                  float* last, float* totals, int count, int heads, int keys, int values, int segment, int flags) {
  extern __shared__ float4 shared[];
  const int tiles = (values + COLUMNS - 1) / COLUMNS;
  const int first = (int)(blockIdx.x % tiles) * COLUMNS;
  const int h = blockIdx.x / tiles % heads;
  const int itemIndex = blockIdx.x / tiles / heads;
  Item item;
  if (!find(offsets, count, segment, itemIndex, flags, item)) {
    return;
  }
  const bool cut = segment != WHOLE;
  const bool outputs = !(flags & TOTALS);
  if (!outputs && item.end == item.length && !(flags & NEED_LAST)) {
    return;
  }
  const int e = item.mirrored ? 0 : 1;
  const int depth = (keys + SLICE - 1) / SLICE * SLICE;
  float* state = reinterpret_cast<float*>(shared);
  float* as = state + depth * COLUMNS;
  float* bs = as + CHUNK * PITCH;
  float* scores = as;
  float* cs = bs + CHUNK * PITCH;
  float* weighted = cs + CHUNK * COLUMNS;
  float* powers = weighted + CHUNK * COLUMNS;

  const int tid = threadIdx.x;
  const int tx = tid % 16;
  const int ty = tid / 16;
  const int lane = tid % 32;
  const int warp = tid / 32;
  const float r = rates[h];
  const int slot = slots[item.sequence];
  const long long matrix = (long long)keys * values;
  float* total = totals + ((long long)itemIndex * heads + h) * matrix;
  const float* from = !outputs ? nullptr : cut ? total
                      : initial != nullptr && slot >= 0 ? initial + ((long long)slot * heads + h) * matrix : nullptr;
  const bool transposed = !cut && (flags & TRANSPOSED_INITIAL);
  for (int i = tid; i < depth * COLUMNS; i += THREADS) {
    const int k = transposed ? i % depth : i / COLUMNS;
    const int j = transposed ? i / depth : i % COLUMNS;
    const bool inside = from != nullptr && k < keys && first + j < values;
    const long long at = transposed ? (long long)(first + j) * keys + k : (long long)k * values + first + j;
    state[k * COLUMNS + j] = inside ? from[at] : 0.0f;
  }
  if (tid <= CHUNK) {
    powers[tid] = (float)exp(-(double)r * tid);
  }
  float high, low;
  decay(r, CHUNK, high, low);

  for (int base = item.begin; base < item.end; base += CHUNK) {
    const int m = min(CHUNK, item.end - base);
    if (m < CHUNK) {
      decay(r, m, high, low);
    }
    __syncthreads();
    stage<COLUMNS, COLUMNS>(cs, c, h, item, base, m, first, values, flags & MASK_C ? mask : nullptr);
    __syncthreads();
    for (int i = tid; i < CHUNK * COLUMNS; i += THREADS) {
      const int t = i / COLUMNS;
      weighted[i] = t < m ? powers[m - t - e] * cs[i] : 0.0f;
    }
    float p[4][4] = {};
    float past[4][2] = {};
    for (int k0 = 0; k0 < depth; k0 += SLICE) {
      __syncthreads();
      if (outputs) {
        stage<SLICE, PITCH>(as, a, h, item, base, m, k0, keys, flags & MASK_A ? mask : nullptr);
      }
      stage<SLICE, PITCH>(bs, b, h, item, base, m, k0, keys, flags & MASK_B ? mask : nullptr);
      __syncthreads();
      if (outputs) {
        const float* slice = state + k0 * COLUMNS;
#pragma unroll 2
        for (int k = 0; k < SLICE; k += 4) {
          float4 av[4];
#pragma unroll
          for (int i = 0; i < 4; i++) {
            av[i] = *reinterpret_cast<const float4*>(as + (ty + 16 * i) * PITCH + k);
          }
#pragma unroll
          for (int j = 0; j < 4; j++) {
            const float4 bv = *reinterpret_cast<const float4*>(bs + (tx + 16 * j) * PITCH + k);
#pragma unroll
            for (int i = 0; i < 4; i++) {
              p[i][j] = fmaf(av[i].x, bv.x, p[i][j]);
              p[i][j] = fmaf(av[i].y, bv.y, p[i][j]);
              p[i][j] = fmaf(av[i].z, bv.z, p[i][j]);
              p[i][j] = fmaf(av[i].w, bv.w, p[i][j]);
            }
          }
#pragma unroll
          for (int j = 0; j < 2; j++) {
            const float* column = slice + k * COLUMNS + tx + 16 * j;
            const float x0 = column[0];
            const float x1 = column[COLUMNS];
            const float x2 = column[2 * COLUMNS];
            const float x3 = column[3 * COLUMNS];
#pragma unroll
            for (int i = 0; i < 4; i++) {
              past[i][j] = fmaf(av[i].x, x0, past[i][j]);
              past[i][j] = fmaf(av[i].y, x1, past[i][j]);
              past[i][j] = fmaf(av[i].z, x2, past[i][j]);
              past[i][j] = fmaf(av[i].w, x3, past[i][j]);
            }
          }
        }
        __syncthreads();
      }
      // Rows 4 warp … 4 warp + 3 of the slice of the state.
      float sum[4] = {};
      for (int t = 0; t < m; t++) {
        const float4 bv = *reinterpret_cast<const float4*>(bs + t * PITCH + 4 * warp);
        const float cv = weighted[t * COLUMNS + lane];
        sum[0] = fmaf(bv.x, cv, sum[0]);
        sum[1] = fmaf(bv.y, cv, sum[1]);
        sum[2] = fmaf(bv.z, cv, sum[2]);
        sum[3] = fmaf(bv.w, cv, sum[3]);
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float* at = state + (k0 + 4 * warp + i) * COLUMNS + lane;
        *at = fmaf(*at, high, fmaf(*at, low, sum[i]));
      }
    }
    if (!outputs) {
      continue;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int t = ty + 16 * i;
        const int s = tx + 16 * j;
        scores[t * SCORES_PITCH + s] = s <= t ? p[i][j] * powers[s <= t ? t - s : 0] : 0.0f;
      }
    }
    __syncthreads();
    float out[4][2] = {};
    // Of the 16 tokens of its own block a token sees some; a NaN of the others must not reach it, times 0 or not.
#pragma unroll
    for (int block = 0; block < 4; block++) {
#pragma unroll 4
      for (int s = 16 * block; s < 16 * block + 16; s++) {
        const float c0 = cs[s * COLUMNS + tx];
        const float c1 = cs[s * COLUMNS + tx + 16];
#pragma unroll
        for (int i = block; i < 4; i++) {
          const float score = scores[(ty + 16 * i) * SCORES_PITCH + s];
          if (i > block || s <= ty + 16 * i) {
            out[i][0] = fmaf(score, c0, out[i][0]);
            out[i][1] = fmaf(score, c1, out[i][1]);
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int t = ty + 16 * i;
      if (t >= m) {
        continue;
      }
      const long long row = item.row(base + t);
      const bool masked = (flags & MASK_Y) && mask != nullptr && mask[row] == 0;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int column = first + tx + 16 * j;
        if (column < values) {
          float value = fmaf(powers[t + e], past[i][j], out[i][j]);
          if (x.f != act::IDENTITY) {
            value *= activation_derivative(x.f, to_float(x.p[row * x.token + h * x.head + column]));
          }
          y.p[row * y.token + h * y.head + column] = from_float<T>(masked ? 0.0f : value);
        }
      }
    }
  }

  float* to = !outputs ? total
              : cut || last == nullptr || slot < 0 ? nullptr : last + ((long long)slot * heads + h) * matrix;
  if (to != nullptr) {
    __syncthreads();
    for (int i = tid; i < keys * COLUMNS; i += THREADS) {
      const int j = first + i % COLUMNS;
      if (j < values) {
        to[(long long)(i / COLUMNS) * values + j] = state[i];
      }
    }
  }
}

/** A sequence of one token: S ← λ S + k vᵀ and o = Sᵀ q in one pass over 32 columns of the state; 256 threads. */
template <class T>
DEVICE void step(const T* q, long long qToken, long long qHead, const T* k, long long kToken, long long kHead,
                 const T* v, long long vToken, long long vHead, T* o, long long oToken, long long oHead,
                 const float* theta, const int* positions, const float* rates, const int* offsets, const int* slots,
                 const int* mask, const float* initial, float* last, int heads, int channels, int values, int f) {
  constexpr int ROWS_AT_ONCE = 32;
  __shared__ float qs[512];
  __shared__ float ks[512];
  __shared__ float sums[THREADS / 32][COLUMNS];
  const int tiles = (values + COLUMNS - 1) / COLUMNS;
  const int first = (int)(blockIdx.x % tiles) * COLUMNS;
  const int h = blockIdx.x / tiles % heads;
  const int n = blockIdx.x / tiles / heads;
  release_successor();
  await_predecessor();
  const long long row = offsets[n];
  if (offsets[n + 1] - row != 1) {
    return;
  }
  const int tid = threadIdx.x;
  const int keys = theta == nullptr ? channels : 2 * channels;
  // A thread has four columns of every 32nd row; what it has of the state is under way while q and k are made.
  constexpr int BATCH = 4;
  const int column = first + tid % 8 * 4;
  const int group = tid / 8;
  const int slot = slots[n];
  const long long matrix = ((long long)slot * heads + h) * keys * values;
  const float* from = initial != nullptr && slot >= 0 ? initial + matrix : nullptr;
  float* to = last != nullptr && slot >= 0 ? last + matrix : nullptr;
  Pack<float> loaded[BATCH];
  auto fetch = [&](int k0) {
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const int key = k0 + i * ROWS_AT_ONCE;
      loaded[i] = from != nullptr && key < keys ? load_some(from + (long long)key * values + column, values - column)
                                                : Pack<float>{make_uint4(0, 0, 0, 0)};
    }
  };
  fetch(group);
  for (int i = tid; i < channels; i += THREADS) {
    const float qv = activation(f, to_float(q[row * qToken + h * qHead + i]));
    const float kv = activation(f, to_float(k[row * kToken + h * kHead + i]));
    float cosine = 1.0f;
    if (theta != nullptr) {
      float sine;
      cos_sin(quarter_turns(theta[h * channels + i]), positions[row], cosine, sine);
      qs[channels + i] = qv * sine;
      ks[channels + i] = kv * sine;
    }
    qs[i] = theta == nullptr ? qv : qv * cosine;
    ks[i] = theta == nullptr ? kv : kv * cosine;
  }
  float high, low;
  decay(rates[h], 1, high, low);
  float vs[4];
#pragma unroll
  for (int u = 0; u < 4; u++) {
    const bool counts = column + u < values && (mask == nullptr || mask[row] != 0);
    vs[u] = counts ? to_float(v[row * vToken + h * vHead + column + u]) : 0.0f;
  }
  __syncthreads();
  float sum[4] = {};
  for (int k0 = group; k0 < keys; k0 += BATCH * ROWS_AT_ONCE) {
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const int key = k0 + i * ROWS_AT_ONCE;
      if (key < keys) {
        float s[4];
        unpack(loaded[i], s);
#pragma unroll
        for (int u = 0; u < 4; u++) {
          s[u] = fmaf(s[u], high, fmaf(s[u], low, ks[key] * vs[u]));
          sum[u] = fmaf(s[u], qs[key], sum[u]);
        }
        if (to != nullptr) {
          store_some(to + (long long)key * values + column, values - column, pack(s));
        }
      }
    }
    fetch(k0 + BATCH * ROWS_AT_ONCE);
  }
#pragma unroll
  for (int u = 0; u < 4; u++) {
    sum[u] += __shfl_xor_sync(ALL_LANES, sum[u], 8);
    sum[u] += __shfl_xor_sync(ALL_LANES, sum[u], 16);
  }
  if (tid % 32 < 8) {
#pragma unroll
    for (int u = 0; u < 4; u++) {
      sums[tid / 32][tid % 8 * 4 + u] = sum[u];
    }
  }
  __syncthreads();
  if (tid < COLUMNS && first + tid < values) {
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < THREADS / 32; w++) {
      total += sums[w][tid];
    }
    o[row * oToken + h * oHead + first + tid] = from_float<T>(total);
  }
}

}  // namespace

/** See sweep(). Grid items · H · ⌈V/32⌉; dynamic shared memory 4 (32 ⌈K/32⌉ 32 + 2·64·36 + 2·64·32 + 65) bytes. */
#define SWEEP(NAME, T)                                                                                                \
  extern "C" __global__ void __launch_bounds__(THREADS, 2)                                                            \
      NAME(const T* a, long long aToken, long long aHead, int fa, const T* b, long long bToken, long long bHead,      \
           int fb, const T* c, long long cToken, long long cHead, int fc, T* y, long long yToken, long long yHead,    \
           const T* x, long long xToken, long long xHead, int fx, const float* rates, const int* offsets,             \
           const int* slots, const int* mask, const float* initial, float* last, float* totals, int count, int heads, \
           int keys, int values, int segment, int flags) {                                                            \
    sweep<T>({a, aToken, aHead, fa}, {b, bToken, bHead, fb}, {c, cToken, cHead, fc},                                  \
             {y, yToken, yHead, act::IDENTITY}, {x, xToken, xHead, fx}, rates, offsets, slots, mask, initial, last,   \
             totals, count, heads, keys, values, segment, flags);                                                     \
  }

SWEEP(lightning_sweep_f32, float)
SWEEP(lightning_sweep_bf16, bf16)

/**
 * Between the totals and the outputs of a cut sweep: each segment's total becomes the state before it, and `last` the
 * state after the last one. Grid (sequences · H, ⌈K V / 256⌉), 256 threads, one number of the state each.
 */
extern "C" __global__ void __launch_bounds__(THREADS)
    lightning_scan(const float* rates, const int* offsets, const int* slots, const float* initial, float* last,
                   float* totals, int heads, int keys, int values, int segment, int flags) {
  const int h = blockIdx.x % heads;
  const int n = blockIdx.x / heads;
  const int at = blockIdx.y * THREADS + threadIdx.x;
  const int matrix = keys * values;
  const int start = offsets[n];
  const int length = offsets[n + 1] - start;
  if (at >= matrix || (length == 1 && (flags & SKIP_SINGLE_TOKENS))) {
    return;
  }
  const int slot = slots[n];
  const float r = rates[h];
  const int items = (length + segment - 1) / segment;
  const long long stride = (long long)heads * matrix;
  float* total = totals + ((long long)(start / segment + n) * heads + h) * matrix + at;
  const long long state = ((long long)slot * heads + h) * matrix;
  const int source = flags & TRANSPOSED_INITIAL ? at % values * keys + at / values : at;
  float x = initial != nullptr && slot >= 0 ? initial[state + source] : 0.0f;
  float high, low;
  decay(r, segment, high, low);
  constexpr int BATCH = 8;
  for (int i = 0; i < items; i += BATCH) {
    float sums[BATCH];
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
      const bool known = i + j < items && (i + j < items - 1 || (flags & NEED_LAST));
      sums[j] = known ? total[(i + j) * stride] : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
      if (i + j < items) {
        total[(i + j) * stride] = x;
        if (i + j == items - 1) {
          decay(r, length - (i + j) * segment, high, low);
        }
        x = fmaf(x, high, fmaf(x, low, sums[j]));
      }
    }
  }
  if (last != nullptr && slot >= 0) {
    last[state + at] = x;
  }
}

/** See step(). Grid sequences · H · ⌈V/32⌉; theta null without LRPE. */
#define STEP(NAME, T)                                                                                                 \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
      NAME(const T* q, long long qToken, long long qHead, const T* k, long long kToken, long long kHead, const T* v,  \
           long long vToken, long long vHead, T* o, long long oToken, long long oHead, const float* theta,            \
           const int* positions, const float* rates, const int* offsets, const int* slots, const int* mask,           \
           const float* initial, float* last, int heads, int channels, int values, int f) {                           \
    step<T>(q, qToken, qHead, k, kToken, kHead, v, vToken, vHead, o, oToken, oHead, theta, positions, rates, offsets, \
            slots, mask, initial, last, heads, channels, values, f);                                                  \
  }

STEP(lightning_step_f32, float)
STEP(lightning_step_bf16, bf16)

// Token embedding: rows of a table, scaled, and the gradient of the table. SPEC section 3.7.
//
//   y_t = scale · table[ids_t]        y_t += table[ids_t]        dtable[i] += scale · Σ_{t: ids_t = i} dy_t
//
// ids (T) int, table (V, d), y and dy (T, d), dtable (V, d) float; rows at any distance.
//
// Forward: a warp takes a token, a lane 16 bytes at a time. Reads and writes d elements a token.
//
// Backward: tokens are grouped by their id, in the order of t, then each group is added to its row of dtable:
//
//   embedding_count    counts[i] = tokens with id i
//   embedding_place    starts[i] = where group i lies in the list of all tokens; ends[i] the same, moved on below
//   embedding_scatter  the list: each token to a free place of its group
//   embedding_order    the list with every group in rising order of t
//   embedding_add      a run is RUN tokens of a group, the last one shorter. A warp sums 16 bytes a lane of a run. A group
//                      of one run goes straight to dtable, token by token in the order of t; the runs of a longer group
//                      are summed from 0 each, into `partials`
//   embedding_join     and these are added to dtable in their order
//
// Where groups lie in the list, and in what order a group gets there, is decided by integer atomics and differs from run
// to run; what is summed, and in which order, does not. Reads dy once, reads and writes the rows that occur. A group of n
// tokens costs n² comparisons in embedding_order: 0.1 ms where one token in twenty of 131,072 is the same.

#include "common.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
/** Tokens summed in one go. */
constexpr int RUN = 128;
/** Rows fetched before the first is needed. */
constexpr int AHEAD = 8;

template <class T, bool ADD>
DEVICE void gather(const int* ids, const T* table, long long table_stride, T* y, long long y_stride, long long tokens,
                   long long width, float scale) {
  constexpr int STEP = 32 * LANES<T>;
  constexpr int PIECES = 4;
  const long long t = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (t >= tokens) {
    return;
  }
  const T* from = table + ids[t] * table_stride;
  T* to = y + t * y_stride;
  for (long long c = threadIdx.x % 32 * LANES<T>; c < width; c += PIECES * STEP) {
    Pack<T> x[PIECES], old[PIECES];
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
      x[i] = load_some(from + c + i * STEP, width - c - i * STEP);
      if constexpr (ADD) {
        old[i] = load_some(to + c + i * STEP, width - c - i * STEP);
      }
    }
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
      float a[LANES<T>];
      unpack(x[i], a);
      if constexpr (ADD) {
        float b[LANES<T>];
        unpack(old[i], b);
#pragma unroll
        for (int j = 0; j < LANES<T>; j++) {
          a[j] += b[j];
        }
      } else {
#pragma unroll
        for (int j = 0; j < LANES<T>; j++) {
          a[j] *= scale;
        }
      }
      store_some(to + c + i * STEP, width - c - i * STEP, pack(a));
    }
  }
}

/** Where the sum of the run lies that begins at place p: at most two runs of long groups begin within RUN places. */
DEVICE long long partial_row(int p, int start) { return 2LL * (p / RUN) + (p != start); }

template <class T>
DEVICE void add(const int* ids, const int* ordered, const int* starts, const int* ends, const int* placed, const T* dy,
                long long dy_stride, float scale, float* dtable, long long dtable_stride, float* partials,
                long long partial_stride, long long width) {
  const int p = blockIdx.x * WARPS + threadIdx.x / 32;
  if (p >= *placed) {
    return;
  }
  const int id = ids[ordered[p]];
  const int start = starts[id];
  const int end = ends[id];
  if ((p - start) % RUN != 0) {
    return;
  }
  const int lane = threadIdx.x % 32;
  const int count = min(RUN, end - p);
  const bool alone = end - start <= RUN;
  const long long c = ((long long)blockIdx.y * 32 + lane) * LANES<T>;
  const long long left = width - c;
  float* to = (alone ? dtable + id * dtable_stride : partials + partial_row(p, start) * partial_stride) + c;
  float sum[LANES<T>];
#pragma unroll
  for (int j = 0; j < LANES<T>; j += 4) {
    const Pack<float> old = load_some(to + j, alone ? left - j : 0);
    float x[4];
    unpack(old, x);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      sum[j + k] = x[k];
    }
  }
  for (int first = 0; first < count; first += 32) {
    const int mine = first + lane < count ? ordered[p + first + lane] : 0;
    const int here = min(32, count - first);
    for (int i = 0; i < here; i += AHEAD) {
      Pack<T> rows[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) {
        const long long t = __shfl_sync(ALL_LANES, mine, i + k);
        rows[k] = load_some(dy + t * dy_stride + c, i + k < here ? left : 0);
      }
#pragma unroll
      for (int k = 0; k < AHEAD; k++) {
        if (i + k < here) {
          float x[LANES<T>];
          unpack(rows[k], x);
#pragma unroll
          for (int j = 0; j < LANES<T>; j++) {
            sum[j] = fmaf(x[j], scale, sum[j]);
          }
        }
      }
    }
  }
#pragma unroll
  for (int j = 0; j < LANES<T>; j += 4) {
    const float x[4] = {sum[j], sum[j + 1], sum[j + 2], sum[j + 3]};
    store_some(to + j, left - j, pack(x));
  }
}

}  // namespace

#define GATHER(NAME, TYPE, ADD)                                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                          \
      NAME(const int* ids, const TYPE* table, long long table_stride, TYPE* y, long long y_stride,               \
           long long tokens, long long width, float scale) {                                                     \
    gather<TYPE, ADD>(ids, table, table_stride, y, y_stride, tokens, width, scale);                              \
  }
GATHER(embedding_forward_f32, float, false)
GATHER(embedding_forward_bf16, bf16, false)
GATHER(embedding_add_f32, float, true)
GATHER(embedding_add_bf16, bf16, true)

/** counts are 0 before. */
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_count(const int* ids, int tokens, int padding, int* counts) {
  const int t = blockIdx.x * THREADS + threadIdx.x;
  if (t < tokens && ids[t] != padding) {
    atomicAdd(counts + ids[t], 1);
  }
}

/** placed is 0 before and the number of tokens in the list after; ends holds the counts before, the starts after. */
extern "C" __global__ void __launch_bounds__(THREADS) embedding_place(int rows, int* starts, int* ends, int* placed) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  const int lane = threadIdx.x % 32;
  const int count = i < rows ? ends[i] : 0;
  int before = count;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(ALL_LANES, before, step);
    before += lane >= step ? other : 0;
  }
  int base = 0;
  if (lane == 31) {
    base = atomicAdd(placed, before);
  }
  base = __shfl_sync(ALL_LANES, base, 31);
  if (i < rows) {
    starts[i] = base + before - count;
    ends[i] = base + before - count;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_scatter(const int* ids, int tokens, int padding, int* ends, int* list) {
  const int t = blockIdx.x * THREADS + threadIdx.x;
  if (t < tokens && ids[t] != padding) {
    list[atomicAdd(ends + ids[t], 1)] = t;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) embedding_order(const int* ids, const int* starts, const int* ends,
                                                                      const int* placed, const int* list, int* ordered) {
  const int p = blockIdx.x * THREADS + threadIdx.x;
  if (p >= *placed) {
    return;
  }
  const int t = list[p];
  const int start = starts[ids[t]];
  const int end = ends[ids[t]];
  int rank = 0;
#pragma unroll 8
  for (int q = start; q < end; q++) {
    rank += list[q] < t;
  }
  ordered[start + rank] = t;
}

#define ADD_RUNS(NAME, TYPE)                                                                                      \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                           \
      NAME(const int* ids, const int* ordered, const int* starts, const int* ends, const int* placed,             \
           const TYPE* dy, long long dy_stride, float scale, float* dtable, long long dtable_stride,              \
           float* partials, long long partial_stride, long long width) {                                          \
    add(ids, ordered, starts, ends, placed, dy, dy_stride, scale, dtable, dtable_stride, partials,                \
        partial_stride, width);                                                                                   \
  }
ADD_RUNS(embedding_add_runs_f32, float)
ADD_RUNS(embedding_add_runs_bf16, bf16)

/** A warp looks for the one long group that begins within its RUN places, and adds 16 bytes a lane of its runs. */
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_join(const int* ids, const int* ordered, const int* starts, const int* ends, const int* placed,
                   float* dtable, long long dtable_stride, const float* partials, long long partial_stride,
                   long long width) {
  const int lane = threadIdx.x % 32;
  const int from = (blockIdx.x * WARPS + threadIdx.x / 32) * RUN;
  int start = -1;
#pragma unroll
  for (int i = 0; i < RUN / 32; i++) {
    const int p = from + 32 * i + lane;
    if (p < *placed) {
      const int id = ids[ordered[p]];
      start = starts[id] == p && ends[id] - p > RUN ? p : start;
    }
  }
  const unsigned found = __ballot_sync(ALL_LANES, start >= 0);
  if (found == 0) {
    return;
  }
  start = __shfl_sync(ALL_LANES, start, __ffs(found) - 1);
  const int id = ids[ordered[start]];
  const int runs = (ends[id] - start + RUN - 1) / RUN;
  const long long c = ((long long)blockIdx.y * 32 + lane) * LANES<float>;
  const long long left = width - c;
  float* to = dtable + id * dtable_stride + c;
  float sum[4];
  unpack(load_some(to, left), sum);
  for (int r = 0; r < runs; r += AHEAD) {
    Pack<float> x[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      x[k] = load_some(partials + partial_row(start + (r + k) * RUN, start) * partial_stride + c,
                       r + k < runs ? left : 0);
    }
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      float a[4];
      unpack(x[k], a);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        sum[j] += r + k < runs ? a[j] : 0.0f;
      }
    }
  }
  store_some(to, left, pack(sum));
}

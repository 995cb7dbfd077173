// Token embedding: rows of a table, scaled, and the gradient of the table. SPEC section 3.7.
//
//   y_t = scale · table[ids_t]        y_t += table[ids_t]        dtable[i] += scale · Σ_{t: ids_t = i} dy_t
//
// ids (T) int, table (V, d), y and dy (T, d), dtable (V, d) float; rows at any distance.
//
// The table is the rows from first on of a larger one in which ids count, or all rows from 0 on. For a row that is not in it
// the forward gives 0, and the backward adds nothing; what adds to y has a table of its own with every row.
//
// Forward: a warp takes a token, a lane 16 bytes at a time. Reads and writes d elements a token.
//
// Backward: tokens are grouped by their id, in the order of t, then each group is added to its row of dtable. A run is RUN
// tokens of a group, the last one shorter.
//
//   embedding_count    counts[i] = tokens with id i, and each token's number within its group
//   embedding_place    starts[i] = where group i lies in the list of all tokens; the list of all runs; the list of groups
//                      of more than SHORT tokens, which are ordered by the next but one
//   embedding_scatter  the list of tokens
//   embedding_order    a block puts a group's tokens into a bitmap of all t and reads them off in order
//   embedding_add_*    a warp sums a run, 16 bytes a lane; SHORT tokens are ordered by it. A group of one run goes straight to
//                      dtable, token by token in the order of t; the runs of a longer group are summed from 0 each
//   embedding_join     and these sums are added to dtable in their order
//
// Where groups and runs lie in the lists is decided by integer atomics and differs from call to call; what is summed, and
// in which order, does not. Reads dy once, reads and writes the rows that occur.

#include "common.cuh"

/** Tokens of one group in a row. */
struct Run {
  int place;
  int id;
  int count;
  /** Of the sum; -1: straight to dtable. */
  int partial;
};

/** A group of more than 32 tokens. */
struct Group {
  int id;
  int start;
  int count;
  /** Of its first run's sum; -1: one run. */
  int partial;
};

namespace {

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
/** Tokens summed in one go. */
constexpr int RUN = 64;
/** Tokens that one warp orders. */
constexpr int SHORT = 32;
/** Rows fetched before the first is needed. */
constexpr int AHEAD = 4;

template <class T, bool ADD>
DEVICE void gather(const int* ids, long long first, long long rows, const T* table, long long table_stride, T* y,
                   long long y_stride, long long tokens, long long width, float scale) {
  constexpr int STEP = 32 * LANES<T>;
  constexpr int PIECES = 4;
  const long long t = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
  if (t >= tokens) {
    return;
  }
  const long long row = ids[t] - first;
  const bool here = ADD || (row >= 0 && row < rows);
  const T* from = table + (here ? row : 0) * table_stride;
  const long long there = here ? width : 0;
  T* to = y + t * y_stride;
  for (long long c = threadIdx.x % 32 * LANES<T>; c < width; c += PIECES * STEP) {
    Pack<T> x[PIECES], old[PIECES];
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
      x[i] = load_some(from + c + i * STEP, there - c - i * STEP);
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

/** Counters of embedding_place: tokens, runs, groups in the list, rows of partial sums. */
enum Counter { TOKENS, RUNS, GROUPS, PARTIALS };

/** At most 32 tokens, one a lane, in rising order; lanes from count on keep what they have. */
DEVICE int in_order(int token, int count) {
  const int lane = threadIdx.x % 32;
  int rank = 0;
  for (int i = 0; i < count; i++) {
    rank += __shfl_sync(ALL_LANES, token, i) < token;
  }
  int mine = token;
  for (int i = 0; i < count; i++) {
    const int other = __shfl_sync(ALL_LANES, token, i);
    mine = __shfl_sync(ALL_LANES, rank, i) == lane ? other : mine;
  }
  return mine;
}

template <class T>
DEVICE void add_runs(const Run* runs, const int* counters, const int* list, const int* ordered, const T* dy,
                     long long dy_stride, float scale, float* dtable, long long dtable_stride, float* partials,
                     long long partial_stride, long long width) {
  const int lane = threadIdx.x % 32;
  const int slices = (int)((width + 32 * LANES<T> - 1) / (32 * LANES<T>));
  const long long items = (long long)counters[RUNS] * slices;
  for (long long item = (long long)blockIdx.x * WARPS + threadIdx.x / 32; item < items;
       item += (long long)gridDim.x * WARPS) {
    const Run run = runs[item / slices];
    const bool alone = run.partial < 0;
    const bool here = alone && run.count <= SHORT;
    const long long c = (item % slices * 32 + lane) * LANES<T>;
    const long long left = width - c;
    float* to = (alone ? dtable + run.id * dtable_stride : partials + run.partial * partial_stride) + c;
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
    for (int first = 0; first < run.count; first += 32) {
      const int count = min(32, run.count - first);
      int token = lane < count ? (here ? list : ordered)[run.place + first + lane] : 0;
      if (here && count > 1) {
        token = in_order(token, count);
      }
      for (int i = 0; i < count; i += AHEAD) {
        Pack<T> rows[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
          const long long t = __shfl_sync(ALL_LANES, token, i + k);
          rows[k] = load_some(dy + t * dy_stride + c, i + k < count ? left : 0);
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
          if (i + k < count) {
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
}

}  // namespace

#define GATHER(NAME, TYPE, ADD)                                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                          \
      NAME(const int* ids, long long first, long long rows, const TYPE* table, long long table_stride, TYPE* y,  \
           long long y_stride, long long tokens, long long width, float scale) {                                 \
    gather<TYPE, ADD>(ids, first, rows, table, table_stride, y, y_stride, tokens, width, scale);                 \
  }
GATHER(embedding_forward_f32, float, false)
GATHER(embedding_forward_bf16, bf16, false)
GATHER(embedding_add_f32, float, true)
GATHER(embedding_add_bf16, bf16, true)

/** Row of a token, or -1 where the gradient of none is asked for. */
DEVICE int row_of(int id, long long first, int rows, int padding) {
  const long long row = id - first;
  return id != padding && row >= 0 && row < rows ? (int)row : -1;
}

/** counts are 0 before. Of tokens of a warp with the same id one asks for all. */
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_count(const int* ids, int tokens, long long first, int rows, int padding, int* counts, int* numbers) {
  const int t = blockIdx.x * THREADS + threadIdx.x;
  const int lane = threadIdx.x % 32;
  const int id = t < tokens ? row_of(ids[t], first, rows, padding) : -1;
  const bool counted = id >= 0;
  const unsigned same = __match_any_sync(ALL_LANES, id);
  const int leader = __ffs(same) - 1;
  int number = 0;
  if (counted && lane == leader) {
    number = atomicAdd(counts + id, __popc(same));
  }
  number = __shfl_sync(ALL_LANES, number, leader) + __popc(same & ((1u << lane) - 1));
  if (counted) {
    numbers[t] = number;
  }
}

/** counters are 0 before. */
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_place(int rows, const int* counts, int* starts, int* counters, Run* runs, Group* groups) {
  const int i = blockIdx.x * THREADS + threadIdx.x;
  const int lane = threadIdx.x % 32;
  const int count = i < rows ? counts[i] : 0;
  const int own = (count + RUN - 1) / RUN;
  int tokens_before = count;
  int runs_before = own;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int tokens = __shfl_up_sync(ALL_LANES, tokens_before, step);
    const int others = __shfl_up_sync(ALL_LANES, runs_before, step);
    tokens_before += lane >= step ? tokens : 0;
    runs_before += lane >= step ? others : 0;
  }
  int tokens_base = 0;
  int runs_base = 0;
  if (lane == 31 && tokens_before > 0) {
    tokens_base = atomicAdd(counters + TOKENS, tokens_before);
    runs_base = atomicAdd(counters + RUNS, runs_before);
  }
  const int start = __shfl_sync(ALL_LANES, tokens_base, 31) + tokens_before - count;
  const int first = __shfl_sync(ALL_LANES, runs_base, 31) + runs_before - own;
  if (count == 0) {
    return;
  }
  starts[i] = start;
  const int partial = own > 1 ? atomicAdd(counters + PARTIALS, own) : -1;
  if (count > SHORT) {
    groups[atomicAdd(counters + GROUPS, 1)] = {i, start, count, partial};
  }
  for (int r = 0; r < own; r++) {
    runs[first + r] = {start + r * RUN, i, min(RUN, count - r * RUN), own > 1 ? partial + r : -1};
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_scatter(const int* ids, int tokens, long long first, int rows, int padding, const int* starts,
                      const int* numbers, int* list) {
  const int t = blockIdx.x * THREADS + threadIdx.x;
  const int id = t < tokens ? row_of(ids[t], first, rows, padding) : -1;
  if (id >= 0) {
    list[starts[id] + numbers[t]] = t;
  }
}

/** Blocks share the groups of the list; a bitmap is of 2^17 tokens at a time. */
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_order(int tokens, const Group* groups, const int* counters, const int* list, int* ordered) {
  constexpr int SLICE = 1 << 17;
  __shared__ unsigned bits[SLICE / 32];
  __shared__ int warp_sums[WARPS];
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  for (int g = blockIdx.x; g < counters[GROUPS]; g += gridDim.x) {
    const Group group = groups[g];
    int written = group.start;
    for (int from = 0; from < tokens; from += SLICE) {
      const int words = (min(SLICE, tokens - from) + 31) / 32;
      const int own = (words + THREADS - 1) / THREADS;
      for (int i = threadIdx.x; i < words; i += THREADS) {
        bits[i] = 0;
      }
      __syncthreads();
      for (int i = threadIdx.x; i < group.count; i += THREADS) {
        const int t = list[group.start + i] - from;
        if (t >= 0 && t < SLICE) {
          atomicOr(bits + t / 32, 1u << (t % 32));
        }
      }
      __syncthreads();
      const int first = threadIdx.x * own;
      int before = 0;
      for (int i = first; i < first + own && i < words; i++) {
        before += __popc(bits[i]);
      }
      const int mine = before;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(ALL_LANES, before, step);
        before += lane >= step ? other : 0;
      }
      if (lane == 31) {
        warp_sums[warp] = before;
      }
      __syncthreads();
      int place = written + before - mine;
#pragma unroll
      for (int i = 0; i < WARPS; i++) {
        place += i < warp ? warp_sums[i] : 0;
        written += warp_sums[i];
      }
      for (int i = first; i < first + own && i < words; i++) {
        for (unsigned left = bits[i]; left != 0; left &= left - 1) {
          ordered[place++] = from + 32 * i + __ffs(left) - 1;
        }
      }
      __syncthreads();
    }
  }
}

#define ADD_RUNS(NAME, TYPE)                                                                                      \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                                        \
      NAME(const Run* runs, const int* counters, const int* list, const int* ordered, const TYPE* dy,             \
           long long dy_stride, float scale, float* dtable, long long dtable_stride, float* partials,             \
           long long partial_stride, long long width) {                                                           \
    add_runs(runs, counters, list, ordered, dy, dy_stride, scale, dtable, dtable_stride, partials,                \
             partial_stride, width);                                                                              \
  }
ADD_RUNS(embedding_add_runs_f32, float)
ADD_RUNS(embedding_add_runs_bf16, bf16)

/** A warp adds 16 bytes a lane of the sums of a group of several runs. */
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_join(const Group* groups, const int* counters, float* dtable, long long dtable_stride,
                   const float* partials, long long partial_stride, long long width) {
  constexpr int COLUMNS = 32 * LANES<float>;
  const int slices = (int)((width + COLUMNS - 1) / COLUMNS);
  const long long items = (long long)counters[GROUPS] * slices;
  for (long long item = (long long)blockIdx.x * WARPS + threadIdx.x / 32; item < items;
       item += (long long)gridDim.x * WARPS) {
    const Group group = groups[item / slices];
    if (group.partial < 0) {
      continue;
    }
    const int runs = (group.count + RUN - 1) / RUN;
    const long long c = item % slices * COLUMNS + threadIdx.x % 32 * LANES<float>;
    const long long left = width - c;
    float* to = dtable + group.id * dtable_stride + c;
    float sum[4];
    unpack(load_some(to, left), sum);
    for (int r = 0; r < runs; r += AHEAD) {
      Pack<float> x[AHEAD];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) {
        x[k] = load_some(partials + (group.partial + r + k) * partial_stride + c, r + k < runs ? left : 0);
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
}

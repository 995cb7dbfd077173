// Linear maps of one or two tokens, which is what decoding does: y_ti = Σ_j x_tj w_ij + b_i + residual_ti, where x is a tensor,
// a norm with or without a gate, or a product of two tensors. SPEC sections 3.4 and 3.4.1.
//
// The weights are all that costs: O · I of them, each read once. A block takes neighbouring rows of w, as many as any other
// within one; their pieces of 16 bytes, 32 of a row to a warp at a time, are shared out evenly to its warps, so a warp begins
// and ends inside a row. Each thread copies its own pieces into its own places of a ring in shared memory, STAGES ahead, and
// waits for nobody. The first copies are under way before the kernel before this one has ended: what that writes (x, gate,
// residual) is read after await_predecessor(), weights before. The ring is large enough that a multiprocessor holds the
// blocks of this kernel and of the next product, one each: their loads fill the gap between the two.
//
// Every block forms x for itself, each element rounded to T as a kernel of its own would write it, and the statistics of the
// norm by the tree of norm.cuh: the same bits. A lane's products of a row are one chain of fused multiply-adds in F32; lanes
// are joined by a tree, warps in order, then bias and residual are added. Bits depend on shapes and on the number of blocks.
#pragma once
#include "common.cuh"

namespace {

constexpr int THREADS = 512;
constexpr int WARPS = THREADS / 32;
constexpr int STAGES = 10;
/** Leaves room on a multiprocessor for a block of the attention's step beside those of two products. */
constexpr int REGISTERS = 48;

/** What x is made of; as in LinearCudaFew. */
enum Input { PLAIN, NORM, PRODUCT };

/** Pieces of a row that a thread holds for its norm, as in norm.cuh. */
constexpr int PIECES = 2;

/** Columns that a warp reads at a time. */
template <class T>
constexpr int CHUNK = 32 * LANES<T>;

/** Where a thread is: piece `lane` of a chunk of a row. A row ends with a chunk of which some pieces may lie beyond it. */
template <class T>
struct Walk {
  const T* piece;
  long long to_next_row;
  int chunk;
  int chunks;

  DEVICE Walk(const T* w, long long stride, int chunks, int from)
      : to_next_row(stride - (long long)chunks * CHUNK<T>), chunk(from % chunks), chunks(chunks) {
    piece = w + from / chunks * stride + chunk * CHUNK<T> + threadIdx.x % 32 * LANES<T>;
  }

  /** Whether that was the last chunk of its row. */
  DEVICE bool next() {
    piece += CHUNK<T>;
    if (++chunk < chunks) {
      return false;
    }
    piece += to_next_row;
    chunk = 0;
    return true;
  }
};

/** SRMSNorm(x) ⊙ gate of one row into shared memory, by the first `group` threads; every thread of the block calls it. */
template <class T>
DEVICE void stage_norm(const T* x, const T* gate, double inverse_width, double epsilon, int group, long long columns,
                       int pieces, uint4* to) {
  __shared__ float scratch[32];
  const int lane = threadIdx.x % 32;
  const bool there = threadIdx.x < group;
  Pack<T> xs[PIECES], gates[PIECES];
  float chains[4] = {};
#pragma unroll
  for (int k = 0; k < PIECES; k++) {
    const long long c = (long long)(k * group + threadIdx.x) * LANES<T>;
    xs[k] = load_some(x + c, there ? columns - c : 0);
    gates[k] = load_some(gate + c, there && gate != nullptr ? columns - c : 0);
  }
#pragma unroll
  for (int k = 0; k < PIECES; k++) {
    float v[LANES<T>];
    unpack(xs[k], v);
#pragma unroll
    for (int i = 0; i < LANES<T>; i++) {
      chains[i % 4] = fmaf(v[i], v[i], chains[i % 4]);
    }
  }
  const float mine = warp_sum((chains[0] + chains[1]) + (chains[2] + chains[3]));
  if (lane == 0) {
    scratch[threadIdx.x / 32] = mine;
  }
  __syncthreads();
  const float sum = warp_sum(lane < group / 32 ? scratch[lane] : 0.0f);
  const float r = (float)rsqrt(fma((double)sum, inverse_width, epsilon));
#pragma unroll
  for (int k = 0; k < PIECES; k++) {
    const int piece = k * group + threadIdx.x;
    if (there && piece < pieces) {
      float v[LANES<T>], u[LANES<T>];
      unpack(xs[k], v);
      unpack(gates[k], u);
#pragma unroll
      for (int i = 0; i < LANES<T>; i++) {
        v[i] *= r;
        v[i] = gate != nullptr ? u[i] * v[i] : v[i];
      }
      to[piece] = pack(v).raw;
    }
  }
  __syncthreads();
}

/** x in shared memory, behind the ring and the sums of warps. */
template <int TOKENS>
DEVICE uint4* few_x(uint4* shared, int most_rows) {
  return shared + STAGES * THREADS + (TOKENS * (most_rows + WARPS) + 3) / 4;
}

/** Pieces of 16 bytes of a row of x that is filled up to whole chunks. */
template <class T>
DEVICE int few_pieces(long long columns) {
  return (int)((columns + CHUNK<T> - 1) / CHUNK<T>) * 32;
}

/** Where a kernel has nothing to fetch beside the weights. */
struct Nothing {
  DEVICE void begin() {}
  DEVICE void fetch() {}
};

/**
 * Dynamic shared memory: the ring, STAGES · THREADS · 16 bytes; sums of warps, 4 · TOKENS · (most_rows + WARPS); and, where
 * `staged`, x with every row filled up to whole chunks.
 *
 * more: what a thread fetches beside the weights: begin() when the predecessor has ended, fetch() when x is there; copies to
 * shared memory that it begins are done when all of the thread's are.
 */
template <class T, int TOKENS, class More>
DEVICE void few(More& more, Input input, const T* x, long long x_stride, const T* gate, long long gate_stride, double inverse_width,
                double epsilon, int group, const T* w, long long w_stride, const float* bias, const T* residual,
                long long residual_stride, T* y, long long y_stride, long long columns, long long outputs, int most_rows,
                int staged) {
  extern __shared__ uint4 shared[];
  uint4* const ring = shared + threadIdx.x;
  float* const sums = reinterpret_cast<float*>(shared + STAGES * THREADS);
  uint4* const xs = few_x<TOKENS>(shared, most_rows);
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const long long first = outputs * blockIdx.x / gridDim.x;
  const int rows = (int)(outputs * (blockIdx.x + 1) / gridDim.x - first);
  const int chunks = (int)((columns + CHUNK<T> - 1) / CHUNK<T>);
  // Warp k has chunks [from(k), from(k + 1)) of those of all rows, one after the other.
  auto from = [&](int k) { return rows * chunks * k / WARPS; };
  const int begin = from(warp);
  const int count = from(warp + 1) - begin;
  const bool aligned = aligned16(w) && w_stride % LANES<T> == 0;
  // From this chunk on the lane's piece is cut off by the row's end, or lies beyond it.
  const int whole = aligned ? (int)((columns - lane * LANES<T> + CHUNK<T> - LANES<T>) / CHUNK<T>) : 0;
  release_successor();

  Walk<T> ahead(w + first * w_stride, w_stride, chunks, begin);
  Walk<T> here = ahead;
  auto fetch = [&](int i, int place) {
    if (i < count) {
      if (ahead.chunk < whole) {
        copy16(shared_address(ring + place * THREADS), ahead.piece, true);
      }
      ahead.next();
    }
    commit_copies();
  };
#pragma unroll
  for (int i = 0; i < STAGES; i++) {
    fetch(i, i);
  }
  await_predecessor();
  more.begin();
  if (staged) {
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
      const int pieces = few_pieces<T>(columns);
      const T* const row = x + t * x_stride;
      const T* const gates = gate == nullptr ? nullptr : gate + t * gate_stride;
      if (input == NORM) {
        stage_norm(row, gates, inverse_width, epsilon, group, columns, pieces, xs + t * pieces);
      } else {
        for (int i = threadIdx.x; i < pieces; i += THREADS) {
          const long long c = (long long)i * LANES<T>;
          const Pack<T> piece = load_some(row + c, columns - c);
          xs[t * pieces + i] = (input == PRODUCT ? times(piece, load_some(gates + c, columns - c)) : piece).raw;
        }
      }
    }
  }
  more.fetch();
  __syncthreads();

  float sum[TOKENS] = {};
  // Of row r and warp k at r + k: warps that share a row are neighbours, so no two meet.
  float* to = sums + (begin / chunks + warp) * TOKENS;
  auto finish = [&] {
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
      const float total = warp_sum(sum[t]);
      if (lane == 0) {
        to[t] = total;
      }
      sum[t] = 0.0f;
    }
    to += TOKENS;
  };
  for (int i = 0, place = 0; i < count; i++) {
    wait_copies<STAGES - 1>();
    const int c = here.chunk * CHUNK<T> + lane * LANES<T>;
    const Pack<T> piece =
        here.chunk < whole ? Pack<T>{ring[place * THREADS]} : load_some(here.piece, columns - c);
    float a[LANES<T>];
    unpack(piece, a);
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
      float b[LANES<T>];
      unpack(staged ? Pack<T>{xs[(t * chunks + here.chunk) * 32 + lane]} : load_some(x + t * x_stride + c, columns - c),
             b);
#pragma unroll
      for (int j = 0; j < LANES<T>; j++) {
        sum[t] = fmaf(a[j], b[j], sum[t]);
      }
    }
    fetch(i + STAGES, place);
    place = place == STAGES - 1 ? 0 : place + 1;
    if (here.next()) {
      finish();
    }
  }
  if (count > 0 && here.chunk != 0) {
    finish();
  }
  __syncthreads();
  for (int i = threadIdx.x; i < rows * TOKENS; i += THREADS) {
    const int row = i / TOKENS;
    const int t = i % TOKENS;
    const long long output = first + row;
    float total = 0.0f;
    const int start = row * chunks;
    const int end = start + chunks;
    // The first warp that may have chunks of this row: from(k) <= start <= from(k + 1).
    for (int k = row * WARPS / rows; k < WARPS && from(k) < end; k++) {
      if (max(from(k), start) < min(from(k + 1), end)) {
        total += sums[(row + k) * TOKENS + t];
      }
    }
    if (bias != nullptr) {
      total += bias[output];
    }
    if (residual != nullptr) {
      total += to_float(residual[t * residual_stride + output]);
    }
    y[t * y_stride + output] = from_float<T>(total);
  }
}

}  // namespace

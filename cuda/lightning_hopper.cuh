// Lightning Attention with φ on queries and keys on compute capability 9.0, BF16, dk = dv = 128: what its kernels
// share. SPEC sections 3.3.7, 4.1.
//
//   o_t  = Σ_(s≤t) λ^(t-s) (φ(q_t)·φ(k_s)) v_s + λ^(t+1) initialᵀ φ(q_t)
//   dq_t = φ'(q_t) (Σ_(s≤t) λ^(t-s) (do_t·v_s) φ(k_s) + λ^(t+1) initial do_t)
//   dk_s = φ'(k_s) (Σ_(t≥s) λ^(t-s) (do_t·v_s) φ(q_t) + λ^(T-1-s) dlast v_s)
//   dv_s =          Σ_(t≥s) λ^(t-s) (φ(q_t)·φ(k_s)) do_t + λ^(T-1-s) dlastᵀ φ(k_s)
//
//   lightning_hopper_sweep.cuh     one sweep over the chunks of a segment, by a block
//   lightning_hopper_forward.cu    o and the states at the sequences' ends, in one sweep
//   lightning_hopper_backward.cu   dq in one; dk, dv and dinitial in another
//   lightning_hopper_segments.cu   the states between segments
//
// Segments: with fewer heads and sequences than multiprocessors a sequence is cut into segments of segmentLength
// tokens, a multiple of 64. Every sum has one order, set by shapes: same input, same bits.
//
// q, k, v are views with one token and one head stride, in elements, multiples of 8, of memory aligned to 16 bytes; so
// are their gradients, and o or do. offsets (count + 1), slots (count) int; mask (T) int or null; states (slots, H,
// 128, 128) float or null; segmentStates (segments, H, 128, 128) float, null when no sequence is longer than
// segmentLength.
#pragma once

#include "common.cuh"
#include "hopper.cuh"

namespace hopper {

constexpr int CHUNK = 64;
constexpr int DIM = 128;
constexpr int TILE = CHUNK * DIM * 2;
constexpr int HALF_TILE = TILE / 2;
constexpr int STATE_NUMBERS = DIM * DIM;
constexpr float LOG2_E = 1.4426950408889634f;

// ---- powers of lambda = e^-r; rate is r log2(e) / 2 ----

/** lambda^n, as a square so that what is below the normal range is not lost. */
DEVICE float power(float rate, int n) {
  float root = ex2_approx_ftz(-rate * n);
  return root * root;
}

// ---- phi: SiLU or the identity. Callers branch once for a whole tile, so that its elements overlap. ----

DEVICE float logistic(float x) { return rcp_approx_ftz(1.0f + ex2_approx_ftz(-LOG2_E * x)); }

template <int N>
DEVICE void silu(float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) {
    x[i] *= logistic(x[i]);
  }
}

/** y times the derivative of SiLU. */
template <int N>
DEVICE void timesSlope(float* y, const float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) {
    float s = logistic(x[i]);
    y[i] *= s * fmaf(x[i], 1.0f - s, 1.0f);
  }
}

/** Eight numbers of four words. */
DEVICE void unpackAll(float (&x)[8], const unsigned (&words)[4]) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x[2 * i] = low(words[i]);
    x[2 * i + 1] = high(words[i]);
  }
}

DEVICE void packAll(unsigned (&words)[4], const float* x) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    words[i] = cvt_bf16x2(x[2 * i], x[2 * i + 1]);
  }
}

// ---- which tokens ----

struct Segment {
  int sequence;
  int begin;
  int end;
  bool first;
  bool last;
};

DEVICE int segmentsOf(const int* offsets, int sequence, int count, int length) {
  return sequence < count ? 1 + (offsets[sequence + 1] - offsets[sequence] - 1) / length : 0;
}

/** Segment `index` of all, sequence by sequence; false where there are fewer. For whole warps. */
inline __device__ bool findSegment(const int* offsets, int count, int length, int index, Segment& segment) {
  int lane = threadIdx.x & 31;
  int before = 0;
  for (int s = 0; s < count; s += 32) {
    int own = segmentsOf(offsets, s + lane, count, length);
    int sum = own;
    for (int d = 1; d < 32; d *= 2) {
      int other = __shfl_up_sync(~0u, sum, d);
      sum += lane >= d ? other : 0;
    }
    unsigned beyond = __ballot_sync(~0u, before + sum > index);
    if (beyond != 0) {
      int found = __ffs(beyond) - 1;
      int number = index - before - __shfl_sync(~0u, sum - own, found);
      int start = offsets[s + found];
      int stop = offsets[s + found + 1];
      segment.sequence = s + found;
      segment.begin = start + number * length;
      segment.end = stop - segment.begin > length ? segment.begin + length : stop;
      segment.first = number == 0;
      segment.last = segment.end == stop;
      return true;
    }
    before += __shfl_sync(~0u, sum, 31);
  }
  return false;
}

/** Chunks of a segment in the order of the sweep. */
template <bool Mirrored>
struct Chunks {
  int begin;
  int end;
  int count;

  DEVICE Chunks(const Segment& s) : begin(s.begin), end(s.end), count((s.end - s.begin + 63) / 64) {}

  DEVICE int first(int n) const { return begin + CHUNK * (Mirrored ? count - 1 - n : n); }
  DEVICE int rows(int n) const { return min(CHUNK, end - first(n)); }
};

// ---- rings ----

/** A place in a ring of N, and the parity of the turn. */
template <int N>
struct Turn {
  int at = 0;
  int parity = 0;

  DEVICE void next(int steps = 1) {
    at += steps;
    if (at >= N) {
      at -= N;
      parity ^= 1;
    }
  }
};

// ---- copies into shared memory, 128 threads ----

/** Rows first .. first + 63 of a head, of which `rows` exist and, with a mask, count; the others become zero. */
DEVICE void copyTile(unsigned tile, const bf16* x, long long stride, int first, int rows, const int* mask) {
  int row = (threadIdx.x & 127) >> 4;
  int piece = threadIdx.x & 15;
  unsigned to = tile + (piece >> 3) * HALF_TILE + swizzled(row, piece & 7);
  const bf16* from = x + (long long)(first + row) * stride + piece * 8;
  unsigned valid = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    bool counts = row + 8 * i < rows && (mask == nullptr || mask[first + row + 8 * i] != 0);
    valid |= counts ? 1u << i : 0;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    copy16_of_line(to + i * 1024, from, (valid >> i & 1) != 0);
    from += 8 * stride;
  }
}

/** One head of a tensor (T, H, 128): by tensor map of boxes {64, 64 tokens, 2, 1} over {64, T, 2, H}, and plain. */
struct Source {
  const TensorMap* map;
  const bf16* x;
  long long stride;
};

/** The same tokens of each: whole tiles by tensor map, tiles with rows that do not count by threads. */
template <int N>
DEVICE void copyTiles(unsigned tile, unsigned full, const Source (&sources)[N], int head, int first, int rows,
    const int* mask, int masked) {
  if (rows == CHUNK && mask == nullptr) {
    if ((threadIdx.x & 127) == 0) {
      arriveExpecting(full, N * TILE);
#pragma unroll
      for (int i = 0; i < N; i++) {
        copyBox(tile + i * TILE, sources[i].map, 0, first, 0, head, full);
      }
    } else {
      arrive(full);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) {
      copyTile(tile + i * TILE, sources[i].x, sources[i].stride, first, rows, i == masked ? mask : nullptr);
    }
    arriveCopies(full);
  }
}

// ---- the state, 128 threads: thread (warp w, g = lane / 4, t = lane % 4) has rows 64 b + 16 w + g (+ 8) ----

template <bool Transposed>
DEVICE void loadState(float (&x)[2][64], const float* from) {
  int lane = threadIdx.x & 31;
  int row = ((threadIdx.x & 127) >> 5) * 16 + (lane >> 2);
#pragma unroll
  for (int b = 0; b < 2; b++) {
#pragma unroll
    for (int i = 0; i < 64; i += 2) {
      int r = 64 * b + row + 8 * ((i >> 1) & 1);
      int c = 8 * (i >> 2) + 2 * (lane & 3);
      if (from == nullptr) {
        x[b][i] = 0;
        x[b][i + 1] = 0;
      } else if (Transposed) {
        x[b][i] = from[c * DIM + r];
        x[b][i + 1] = from[c * DIM + DIM + r];
      } else {
        float2 pair = *(const float2*)(from + r * DIM + c);
        x[b][i] = pair.x;
        x[b][i + 1] = pair.y;
      }
    }
  }
}

DEVICE void storeState(float* to, const float (&x)[64]) {
  int lane = threadIdx.x & 31;
  int row = ((threadIdx.x & 127) >> 5) * 16 + (lane >> 2);
#pragma unroll
  for (int i = 0; i < 64; i += 2) {
    int r = row + 8 * ((i >> 1) & 1);
    int c = 8 * (i >> 2) + 2 * (lane & 3);
    *(float2*)(to + r * DIM + c) = make_float2(x[i], x[i + 1]);
  }
}

/** Those of a head in the slot of a sequence, or null. */
DEVICE const float* stateOf(const float* states, const int* slots, int sequence, int heads, int head) {
  int slot = states == nullptr ? -1 : slots[sequence];
  return slot < 0 ? nullptr : states + ((long long)slot * heads + head) * STATE_NUMBERS;
}

/**
 * A operand: channels 64 block .. + 63 of the tile U, transposed, times weights: phi(u_j) w_j, with w_j = lambda^n,
 * n = zero + step j, never below 0. Back: leaves phi(u) in the tile's place.
 */
template <bool Silu, bool Back>
DEVICE void weightedTransposed(unsigned (&a)[4][4], unsigned tile, int block, float rate, int zero, int step) {
  int lane = threadIdx.x & 31;
  int token = ((lane >> 4) << 3) + (lane & 7);
  int piece = 2 * ((threadIdx.x & 127) >> 5) + ((lane >> 3) & 1);
  unsigned at = tile + block * HALF_TILE + swizzled(token, piece);
#pragma unroll
  for (int s = 0; s < 4; s++) {
    ldmatrix_transposed(a[s], at + s * 2048);
  }
#pragma unroll
  for (int s = 0; s < 4; s++) {
    float x[8];
    unpackAll(x, a[s]);
    if (Silu) {
      silu(x);
    }
    if (Silu && Back) {
      packAll(a[s], x);
      store4Transposed(at + s * 2048, a[s]);
    }
    // Words 0 and 1 are two tokens of two channels, words 2 and 3 the tokens eight further on.
#pragma unroll
    for (int j = 0; j < 2; j++) {
      int n = zero + step * (16 * s + 8 * j + 2 * (lane & 3));
      float first = power(rate, max(n, 0));
      float second = power(rate, max(n + step, 0));
      x[4 * j] *= first;
      x[4 * j + 1] *= second;
      x[4 * j + 2] *= first;
      x[4 * j + 3] *= second;
    }
    packAll(a[s], x);
  }
}

/** x (64 x 128) += a (64 x 64) W. */
DEVICE void addChunk(float (&x)[64], const unsigned (&a)[4][4], unsigned w) {
  unsigned long long b = operand(w, HALF_TILE);
#pragma unroll
  for (int s = 0; s < 4; s++) {
    wgmma128<1>(x, a[s], b + (s * 2048 >> 4), 1);
  }
}

}  // namespace hopper

// Lightning Attention with φ on queries and keys on compute capability 9.0: BF16, dk = dv = 128. SPEC sections 3.3.7, 4.1.
//
//   o_t  = Σ_(s≤t) λ^(t-s) (φ(q_t)·φ(k_s)) v_s + λ^(t+1) initialᵀ φ(q_t)
//   dq_t = φ'(q_t) (Σ_(s≤t) λ^(t-s) (do_t·v_s) φ(k_s) + λ^(t+1) initial do_t)
//   dk_s = φ'(k_s) (Σ_(t≥s) λ^(t-s) (do_t·v_s) φ(q_t) + λ^(T-1-s) dlast v_s)
//   dv_s =          Σ_(t≥s) λ^(t-s) (φ(q_t)·φ(k_s)) do_t + λ^(T-1-s) dlastᵀ φ(k_s)
//
// All four are one sweep over chunks of 64 tokens with a state X (128 x 128, F32, in registers) of what lies before:
//
//   Y = ((A Bᵀ) ⊙ M) C + diag(factor) A X          X ← λ^m X + (diag(weight) U)ᵀ W
//
//   kernel     direction   A      B      C      X     U      W      reads       writes
//   forward    first on    φ(q)   φ(k)   v      S     φ(k)   v      q k v       o
//   queries    first on    do     v      φ(k)   Sᵀ    v      φ(k)   q k v do    dq
//   keys       last on     v      do     φ(q)   dSᵀ   φ(q)   do     q k v do    dk
//     "          "         φ(k)   φ(q)   do     dS    (one state for both)      dv
//
// A block has one head of one segment of a sequence, and one multiprocessor. Its warpgroups: one copies tiles (64 tokens
// x 128, 16 KB) into a ring of stages in shared memory; one keeps the state: publishes it in BF16 for the others, applies
// φ to B or C where they lie, and adds the chunk to it; two compute results, of even and odd chunks, or dv and dk.
//
// Segments: with fewer heads and sequences than multiprocessors a sequence is cut into segments of segmentLength tokens,
// a multiple of 64. lightning_hopper_totals_bf16 forms what each segment adds to the state, leaving out tokens whose
// weight is below 2^-150; lightning_hopper_scan_f32 makes of these the states at the segments' ends.
//
// Bytes, in tensors (T, H, 128): forward 4, backward 11; with segments up to 2 and 4 more. Tensor FLOP per token and
// head: forward 98,304, backward 262,144, totals 32,768 each. Every sum has one order, set by shapes: same input, same
// bits.
//
// q, k, v are views with one token and one head stride, in elements, multiples of 8, of memory aligned to 16 bytes; so
// are their gradients, and o or do. offsets (count + 1), slots (count) int; mask (T) int or null; states (slots, H, 128,
// 128) float or null; segmentStates (segments, H, 128, 128) float, null when no sequence is longer than segmentLength.
// Dynamic shared memory: tiles, two published states, barriers, as LightningHopper counts them.
#include "common.cuh"
#include "hopper.cuh"

using namespace hopper;

namespace {

constexpr int CHUNK = 64;
constexpr int DIM = 128;
constexpr int TILE = CHUNK * DIM * 2;
constexpr int HALF_TILE = TILE / 2;
constexpr int STATE = DIM * DIM * 2;
constexpr int HALF_STATE = STATE / 2;
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
__device__ bool findSegment(const int* offsets, int count, int length, int index, Segment& segment) {
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

DEVICE void publishState(unsigned to, const float (&x)[2][64]) {
  int lane = threadIdx.x & 31;
  int row = ((threadIdx.x & 127) >> 5) * 16 + (lane & 15);
#pragma unroll
  for (int b = 0; b < 2; b++) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int piece = 2 * i + (lane >> 4);
      unsigned pairs[4];
      packAll(pairs, x[b] + 8 * i);
      store4(to + (piece >> 3) * HALF_STATE + swizzled(64 * b + row, piece & 7), pairs);
    }
  }
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

/** SiLU of a tile, by a warpgroup. */
DEVICE void siluTile(unsigned to, unsigned from) {
  unsigned at = (threadIdx.x & 127) * 16;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    unsigned words[4];
    load16(words, from + at + i * 2048);
    float x[8];
    unpackAll(x, words);
    silu(x);
    packAll(words, x);
    store16(to + at + i * 2048, words);
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

constexpr int STATES = 2;

/** Where a block's shared memory has what; tiles are byte offsets in a stage. */
template <int Stages, int Tiles>
struct Layout {
  static constexpr int STAGES = Stages;
  static constexpr int STAGE = Tiles * TILE;
  static constexpr int STATES_AT = Stages * STAGE;
  static constexpr int STAGING_AT = STATES_AT + STATES * STATE;

  unsigned base;
  unsigned barriers;

  DEVICE unsigned tile(int stage, int tile) const { return base + stage * STAGE + tile * TILE; }
  DEVICE unsigned state(int i) const { return base + STATES_AT + i * STATE; }
  /** The copies of a stage are there. */
  DEVICE unsigned full(int stage) const { return barriers + stage * 8; }
  /** Nobody needs the stage any more. */
  DEVICE unsigned empty(int stage) const { return barriers + (Stages + stage) * 8; }
  /** phi is applied and the state published. */
  DEVICE unsigned ready(int stage) const { return barriers + (2 * Stages + stage) * 8; }
  /** Nobody needs the published state any more. */
  DEVICE unsigned used(int i) const { return barriers + (3 * Stages + i) * 8; }

  __device__ void init(int readers) const {
    if (threadIdx.x == 0) {
      for (int i = 0; i < Stages; i++) {
        barrierInit(full(i), 128);
        barrierInit(empty(i), 4 + 4 * readers);
        barrierInit(ready(i), 4);
      }
      for (int i = 0; i < STATES; i++) {
        barrierInit(used(i), 4 * readers);
      }
      fenceAsync();
    }
    __syncthreads();
  }
};

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

/** The warpgroup of the copies. Tile `masked` of a stage is v. */
template <bool Mirrored, class L, int N>
DEVICE void sweepCopies(const L& layout, const Chunks<Mirrored>& chunks, const Source (&sources)[N], int head,
    const int* mask, int masked) {
  Turn<L::STAGES> turn;
  for (int n = 0; n < chunks.count; n++) {
    wait(layout.empty(turn.at), turn.parity ^ 1);
    copyTiles(layout.tile(turn.at, 0), layout.full(turn.at), sources, head, chunks.first(n), chunks.rows(n), mask,
      masked);
    turn.next();
  }
}

/**
 * The warpgroup of the state. U and W are tiles of a stage; phi is applied to U (PhiU) or to W (PhiW) in place.
 * Leaves the state after the last chunk in x.
 */
template <bool PhiU, bool PhiW, bool Mirrored, class L>
DEVICE void sweepState(float (&x)[2][64], const L& layout, const Chunks<Mirrored>& chunks, int u, int w, float rate,
    int activation) {
  Turn<L::STAGES> turn;
  Turn<STATES> state;
  for (int n = 0; n < chunks.count; n++) {
    int rows = chunks.rows(n);
    int zero = Mirrored ? 1 : rows - 1;
    int step = Mirrored ? 1 : -1;
    wait(layout.used(state.at), state.parity ^ 1);
    publishState(layout.state(state.at), x);
    state.next();

    wait(layout.full(turn.at), turn.parity);
    fenceAsync();
    unsigned tileU = layout.tile(turn.at, u);
    unsigned tileW = layout.tile(turn.at, w);
    if (PhiW && activation == act::SILU) {
      siluTile(tileW, tileW);
      fenceAsync();
      syncGroup(1);
    }
    float decay = power(rate, rows);
#pragma unroll
    for (int b = 0; b < 2; b++) {
      unsigned a[4][4];
      if (PhiU && activation == act::SILU) {
        weightedTransposed<true, true>(a, tileU, b, rate, zero, step);
      } else {
        weightedTransposed<false, false>(a, tileU, b, rate, zero, step);
      }
      if (b == 1) {
        fenceAsync();
        arriveWarp(layout.ready(turn.at));
      }
#pragma unroll
      for (int i = 0; i < 64; i++) {
        x[b][i] *= decay;
      }
      wgmmaFence();
      addChunk(x[b], a, tileW);
      wgmmaCommit();
      if (b == 1) {
        wgmmaWait<0>();
      }
    }
    arriveWarp(layout.empty(turn.at));
    turn.next();
  }
}

/** What a warpgroup of results needs to know; a, b, c, raw are tiles of a stage. */
struct Result {
  int a;
  int b;
  int c;
  int raw;
  bf16* to;
  long long stride;
  const int* mask;
};

/**
 * A warpgroup of results Y. PhiA: applies phi to A. StateTransposed: A X^T. Derivative: times phi'(raw). phi(A)
 * and the result lie in `staging`, or in the place of A if that is 0.
 */
template <bool PhiA, bool StateTransposed, bool Derivative, int Step, bool Mirrored, class L>
DEVICE void sweepResult(const L& layout, const Chunks<Mirrored>& chunks, const Result& result,
    unsigned staging, float rate, int activation, int start) {
  Turn<L::STAGES> turn;
  Turn<STATES> state;
  turn.next(start);
  state.next(start);
  int group = threadIdx.x >> 7;
  int lane = threadIdx.x & 31;
  int warpRow = ((threadIdx.x & 127) >> 5) * 16;
  int fragmentRow = warpRow + (lane >> 2);
  /** Of this lane's row in ldmatrix and stmatrix: piece lane / 16 of row lane % 16 of the warp's rows. */
  int matrixRow = warpRow + (lane & 15);
  for (int n = start; n < chunks.count; n += Step) {
    int rows = chunks.rows(n);
    wait(layout.full(turn.at), turn.parity);
    unsigned tileA = layout.tile(turn.at, result.a);
    unsigned through = staging != 0 ? staging : tileA;
    if (PhiA && activation == act::SILU) {
      if (staging != 0) {
        // Until here the last result was read from it.
        syncGroup(1 + group);
      }
      siluTile(through, tileA);
      tileA = through;
      fenceAsync();
      syncGroup(1 + group);
    }
    wait(layout.ready(turn.at), turn.parity);
    fenceAsync();

    float p[32];
    wgmmaFence();
    unsigned long long a = operand(tileA, 0);
    unsigned long long b = operand(layout.tile(turn.at, result.b), 0);
#pragma unroll
    for (int s = 0; s < 8; s++) {
      unsigned along = (s >> 2) * HALF_TILE + (s & 3) * 32;
      wgmma64<0>(p, a + (along >> 4), b + (along >> 4), s > 0);
    }
    wgmmaCommit();
    // lambda^distance for the 9 x 2 distances of this thread between a row and a column; 0 beyond the diagonal.
    float m[9][2];
#pragma unroll
    for (int i = 0; i < 9; i++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        int distance = fragmentRow + 8 * (i - 7) - 2 * (lane & 3) - e;
        distance = Mirrored ? -distance : distance;
        m[i][e] = distance >= 0 ? power(rate, distance) : 0.0f;
      }
    }
    wgmmaWait<0>();
    unsigned weighted[4][4];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      weighted[i >> 1][2 * (i & 1)] = cvt_bf16x2(p[4 * i] * m[7 - i][0], p[4 * i + 1] * m[7 - i][1]);
      weighted[i >> 1][2 * (i & 1) + 1] = cvt_bf16x2(p[4 * i + 2] * m[8 - i][0], p[4 * i + 3] * m[8 - i][1]);
    }
    float y[64];
    wgmmaFence();
    unsigned long long x = operand(layout.state(state.at), HALF_STATE);
#pragma unroll
    for (int s = 0; s < 8; s++) {
      unsigned along = (s >> 2) * HALF_TILE + (s & 3) * 32;
      unsigned alongX = StateTransposed ? (s >> 2) * HALF_STATE + (s & 3) * 32 : s * 2048;
      wgmma128<!StateTransposed>(y, a + (along >> 4), x + (alongX >> 4), s > 0);
    }
    wgmmaCommit();

    float upper = power(rate, Mirrored ? max(rows - 1 - fragmentRow, 0) : fragmentRow + 1);
    float lower = power(rate, Mirrored ? max(rows - 9 - fragmentRow, 0) : fragmentRow + 9);
    wgmmaWait<0>();
    arriveWarp(layout.used(state.at));
    state.next(Step);
#pragma unroll
    for (int i = 0; i < 64; i++) {
      y[i] *= (i & 2) == 0 ? upper : lower;
    }
    wgmmaFence();
    unsigned long long c = operand(layout.tile(turn.at, result.c), HALF_TILE);
#pragma unroll
    for (int s = 0; s < 4; s++) {
      wgmma128<1>(y, weighted[s], c + (s * 2048 >> 4), 1);
    }
    wgmmaCommit();
    wgmmaWait<0>();

    // Everybody has read A, whose place the result takes, or the last result is out of the way.
    syncGroup(1 + group);
    if (Derivative && activation == act::SILU) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        int piece = 2 * i + (lane >> 4);
        unsigned raw[4];
        ldmatrix(raw, layout.tile(turn.at, result.raw) + (piece >> 3) * HALF_TILE + swizzled(matrixRow, piece & 7));
        float x[8];
        unpackAll(x, raw);
        timesSlope(y + 8 * i, x);
      }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int piece = 2 * i + (lane >> 4);
      unsigned pairs[4];
      packAll(pairs, y + 8 * i);
      store4(through + (piece >> 3) * HALF_TILE + swizzled(matrixRow, piece & 7), pairs);
    }
    __syncwarp();
    int first = chunks.first(n);
    unsigned out[8][4];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int piece = lane & 15;
      load16(out[i], through + (piece >> 3) * HALF_TILE + swizzled(warpRow + 2 * i + (lane >> 4), piece & 7));
    }
    fenceAsync();
    arriveWarp(layout.empty(turn.at));
    turn.next(Step);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int row = warpRow + 2 * i + (lane >> 4);
      if (row < rows) {
        bool counts = result.mask == nullptr || result.mask[first + row] != 0;
        *(uint4*)(result.to + (long long)(first + row) * result.stride + 8 * (lane & 15)) = counts
          ? make_uint4(out[i][0], out[i][1], out[i][2], out[i][3]) : make_uint4(0, 0, 0, 0);
      }
    }
  }
}

DEVICE const float* stateOf(const float* states, const int* slots, int sequence, int heads,
    int head) {
  int slot = states == nullptr ? -1 : slots[sequence];
  return slot < 0 ? nullptr : states + ((long long)slot * heads + head) * STATE_NUMBERS;
}

typedef Layout<3, 3> ForwardLayout;
typedef Layout<2, 4> BackwardLayout;

}  // namespace

/**
 * o and last, but for sequences of one token: a step of decoding does those. Block (x / heads, x % heads) = (segment,
 * head), 512 threads: copies, state, results of even chunks, results of odd chunks.
 */
extern "C" __global__ void __launch_bounds__(512, 1) lightning_hopper_forward_bf16(
    const __grid_constant__ TensorMap qMap, const __grid_constant__ TensorMap kMap,
    const __grid_constant__ TensorMap vMap, const bf16* q, const bf16* k, const bf16* v, long long tokenStride,
    long long headStride, const float* rates, const int* offsets, const int* slots, const int* mask,
    const float* initial, const float* segmentStates, bf16* o, long long outTokenStride, long long outHeadStride,
    float* last, int count, int heads, int segmentLength, int activation) {
  extern __shared__ __align__(1024) unsigned char memory[];
  ForwardLayout layout;
  layout.base = shared_address(memory);
  layout.barriers = layout.base + ForwardLayout::STAGING_AT;
  int head = blockIdx.x % heads;
  int index = blockIdx.x / heads;
  Segment segment;
  if (!findSegment(offsets, count, segmentLength, index, segment)
      || (segment.first && segment.last && segment.end - segment.begin == 1)) {
    return;
  }
  layout.init(1);
  Chunks<false> chunks(segment);
  float rate = rates[head] * (0.5f * LOG2_E);
  int group = threadIdx.x >> 7;
  if (group == 0) {
    giveRegisters<24>();
    const Source sources[3] = {{&qMap, q + head * headStride, tokenStride},
      {&kMap, k + head * headStride, tokenStride}, {&vMap, v + head * headStride, tokenStride}};
    sweepCopies(layout, chunks, sources, head, mask, 2);
  } else if (group == 1) {
    takeRegisters<216>();
    float x[2][64];
    loadState<false>(x, segmentStates != nullptr
      ? segmentStates + ((long long)index * heads + head) * STATE_NUMBERS
      : stateOf(initial, slots, segment.sequence, heads, head));
    sweepState<true, false>(x, layout, chunks, 1, 2, rate, activation);
    float* to = const_cast<float *>(stateOf(last, slots, segment.sequence, heads, head));
    if (segment.last && to != nullptr) {
      storeState(to, x[0]);
      storeState(to + 64 * DIM, x[1]);
    }
  } else {
    takeRegisters<136>();
    Result result = {0, 1, 2, 0, o + head * outHeadStride, outTokenStride, nullptr};
    sweepResult<true, false, false, 2>(layout, chunks, result, 0, rate, activation, group - 2);
  }
}

/** dq. As the forward, with 4 tiles a stage: do, v, k, q. */
extern "C" __global__ void __launch_bounds__(512, 1) lightning_hopper_queries_bf16(
    const __grid_constant__ TensorMap qMap, const __grid_constant__ TensorMap kMap,
    const __grid_constant__ TensorMap vMap, const __grid_constant__ TensorMap doutMap, const bf16* q, const bf16* k,
    const bf16* v, long long tokenStride, long long headStride, const float* rates, const int* offsets,
    const int* slots, const int* mask, const float* initial, const float* segmentStates, const bf16* dout,
    long long outTokenStride, long long outHeadStride, bf16* dq, long long gradientTokenStride,
    long long gradientHeadStride, int count, int heads, int segmentLength, int activation) {
  extern __shared__ __align__(1024) unsigned char memory[];
  BackwardLayout layout;
  layout.base = shared_address(memory);
  layout.barriers = layout.base + BackwardLayout::STAGING_AT;
  int head = blockIdx.x % heads;
  int index = blockIdx.x / heads;
  Segment segment;
  if (!findSegment(offsets, count, segmentLength, index, segment)) {
    return;
  }
  layout.init(1);
  Chunks<false> chunks(segment);
  float rate = rates[head] * (0.5f * LOG2_E);
  int group = threadIdx.x >> 7;
  if (group == 0) {
    giveRegisters<40>();
    const Source sources[4] = {{&doutMap, dout + head * outHeadStride, outTokenStride},
      {&vMap, v + head * headStride, tokenStride}, {&kMap, k + head * headStride, tokenStride},
      {&qMap, q + head * headStride, tokenStride}};
    sweepCopies(layout, chunks, sources, head, mask, 1);
  } else if (group == 1) {
    takeRegisters<200>();
    float x[2][64];
    loadState<true>(x, segmentStates != nullptr
      ? segmentStates + ((long long)index * heads + head) * STATE_NUMBERS
      : stateOf(initial, slots, segment.sequence, heads, head));
    sweepState<false, true>(x, layout, chunks, 1, 2, rate, activation);
  } else {
    takeRegisters<136>();
    Result result = {0, 1, 2, 3, dq + head * gradientHeadStride, gradientTokenStride, nullptr};
    sweepResult<false, false, true, 2>(layout, chunks, result, 0, rate, activation, group - 2);
  }
}

/**
 * dk, dv and dinitial. 4 tiles a stage: q, do, k, v; and a tile through which dv goes. 512 threads: copies, state, dv,
 * dk.
 */
extern "C" __global__ void __launch_bounds__(512, 1) lightning_hopper_keys_bf16(
    const __grid_constant__ TensorMap qMap, const __grid_constant__ TensorMap kMap,
    const __grid_constant__ TensorMap vMap, const __grid_constant__ TensorMap doutMap, const bf16* q, const bf16* k,
    const bf16* v, long long tokenStride, long long headStride, const float* rates, const int* offsets,
    const int* slots, const int* mask, const float* dlast, const float* segmentStates, const bf16* dout,
    long long outTokenStride, long long outHeadStride, bf16* dk, bf16* dv, long long gradientTokenStride,
    long long gradientHeadStride, float* dinitial, int count, int heads, int segmentLength, int activation) {
  extern __shared__ __align__(1024) unsigned char memory[];
  BackwardLayout layout;
  layout.base = shared_address(memory);
  unsigned staging = layout.base + BackwardLayout::STAGING_AT;
  layout.barriers = staging + TILE;
  int head = blockIdx.x % heads;
  int index = blockIdx.x / heads;
  Segment segment;
  if (!findSegment(offsets, count, segmentLength, index, segment)) {
    return;
  }
  layout.init(2);
  Chunks<true> chunks(segment);
  float rate = rates[head] * (0.5f * LOG2_E);
  int group = threadIdx.x >> 7;
  if (group == 0) {
    giveRegisters<24>();
    const Source sources[4] = {{&qMap, q + head * headStride, tokenStride},
      {&doutMap, dout + head * outHeadStride, outTokenStride}, {&kMap, k + head * headStride, tokenStride},
      {&vMap, v + head * headStride, tokenStride}};
    sweepCopies(layout, chunks, sources, head, mask, 3);
  } else if (group == 1) {
    takeRegisters<216>();
    float x[2][64];
    loadState<false>(x, segmentStates != nullptr
      ? segmentStates + ((long long)index * heads + head) * STATE_NUMBERS
      : stateOf(dlast, slots, segment.sequence, heads, head));
    sweepState<true, false>(x, layout, chunks, 0, 1, rate, activation);
    float* to = const_cast<float *>(stateOf(dinitial, slots, segment.sequence, heads, head));
    if (segment.first && to != nullptr) {
      storeState(to, x[0]);
      storeState(to + 64 * DIM, x[1]);
    }
  } else if (group == 2) {
    takeRegisters<136>();
    Result result = {2, 0, 1, 0, dv + head * gradientHeadStride, gradientTokenStride, mask};
    sweepResult<true, false, false, 1>(layout, chunks, result, staging, rate, activation, 0);
  } else {
    takeRegisters<136>();
    Result result = {3, 1, 0, 2, dk + head * gradientHeadStride, gradientTokenStride, nullptr};
    sweepResult<false, true, true, 1>(layout, chunks, result, 0, rate, activation, 0);
  }
}

namespace {

constexpr int TOTALS_STAGES = 6;

/** What a segment adds to the state: sum of weight phi(u) w^T, the nearest tokens first. */
template <bool Mirrored>
DEVICE void totals(unsigned base, const Segment& segment, float rate, const Source (&sources)[2],
    int head, const int* mask, float* to, int activation) {
  unsigned barriers = base + TOTALS_STAGES * 2 * TILE;
  if (threadIdx.x == 0) {
    for (int i = 0; i < TOTALS_STAGES; i++) {
      barrierInit(barriers + i * 8, 128);
      barrierInit(barriers + (TOTALS_STAGES + i) * 8, 8);
    }
    fenceAsync();
  }
  __syncthreads();
  Chunks<!Mirrored> chunks(segment);
  float far = 150.0f / (2 * rate * CHUNK);
  int count = far < chunks.count - 1 ? (int)far + 1 : chunks.count;
  Turn<TOTALS_STAGES> turn;
  if (threadIdx.x < 128) {
    giveRegisters<40>();
    for (int n = 0; n < count; n++) {
      wait(barriers + (TOTALS_STAGES + turn.at) * 8, turn.parity ^ 1);
      copyTiles(base + turn.at * 2 * TILE, barriers + turn.at * 8, sources, head, chunks.first(n), chunks.rows(n),
        mask, 1);
      turn.next();
    }
  } else {
    takeRegisters<232>();
    int block = (threadIdx.x >> 7) - 1;
    float x[64];
#pragma unroll
    for (int i = 0; i < 64; i++) {
      x[i] = 0;
    }
    for (int n = 0; n < count; n++) {
      int first = chunks.first(n);
      unsigned tile = base + turn.at * 2 * TILE;
      wait(barriers + turn.at * 8, turn.parity);
      fenceAsync();
      unsigned a[4][4];
      int zero = Mirrored ? first - segment.begin + 1 : segment.end - 1 - first;
      if (activation == act::SILU) {
        weightedTransposed<true, false>(a, tile, block, rate, zero, Mirrored ? 1 : -1);
      } else {
        weightedTransposed<false, false>(a, tile, block, rate, zero, Mirrored ? 1 : -1);
      }
      wgmmaFence();
      addChunk(x, a, tile + TILE);
      wgmmaCommit();
      wgmmaWait<0>();
      arriveWarp(barriers + (TOTALS_STAGES + turn.at) * 8);
      turn.next();
    }
    storeState(to + block * 64 * DIM, x);
  }
}

}  // namespace

/**
 * y = 0: what each segment but the last of a sequence adds to S, from phi(k) and v. y = 1: what each but the first adds
 * to dS, from phi(q) and do. Block (x / heads, x % heads) = (segment, head), 384 threads.
 */
extern "C" __global__ void __launch_bounds__(384, 1) lightning_hopper_totals_bf16(
    const __grid_constant__ TensorMap qMap, const __grid_constant__ TensorMap kMap,
    const __grid_constant__ TensorMap vMap, const __grid_constant__ TensorMap doutMap, const bf16* q, const bf16* k,
    const bf16* v, long long tokenStride, long long headStride, const float* rates,
    const int* offsets, const int* mask, const bf16* dout, long long outTokenStride, long long outHeadStride,
    float* segmentStates, float* segmentGradients, int count, int heads, int segmentLength, int activation) {
  extern __shared__ __align__(1024) unsigned char memory[];
  int head = blockIdx.x % heads;
  int index = blockIdx.x / heads;
  Segment segment;
  if (!findSegment(offsets, count, segmentLength, index, segment)) {
    return;
  }
  long long at = ((long long)index * heads + head) * STATE_NUMBERS;
  float rate = rates[head] * (0.5f * LOG2_E);
  if (blockIdx.y == 0 && !segment.last) {
    const Source sources[2] = {{&kMap, k + head * headStride, tokenStride},
      {&vMap, v + head * headStride, tokenStride}};
    totals<false>(shared_address(memory), segment, rate, sources, head, mask, segmentStates + at, activation);
  } else if (blockIdx.y == 1 && !segment.first) {
    const Source sources[2] = {{&qMap, q + head * headStride, tokenStride},
      {&doutMap, dout + head * outHeadStride, outTokenStride}};
    totals<true>(shared_address(memory), segment, rate, sources, head, nullptr, segmentGradients + at, activation);
  }
}

/**
 * Totals to states, in place: that before each segment (mirrored 0), or the gradient of that after it (mirrored 1). edge
 * is initial or dlast. Blocks (16, heads, count), 256 threads, four numbers a thread.
 */
extern "C" __global__ void __launch_bounds__(256) lightning_hopper_scan_f32(float* states, const float* edge,
    const float* rates, const int* offsets, const int* slots, int count, int heads, int segmentLength,
    int mirrored) {
  int sequence = blockIdx.z;
  int head = blockIdx.y;
  int before = 0;
  for (int s = threadIdx.x & 31; s < sequence; s += 32) {
    before += segmentsOf(offsets, s, count, segmentLength);
  }
  for (int d = 16; d > 0; d /= 2) {
    before += __shfl_xor_sync(~0u, before, d);
  }
  int segments = segmentsOf(offsets, sequence, count, segmentLength);
  int length = offsets[sequence + 1] - offsets[sequence];
  float rate = rates[head] * (0.5f * LOG2_E);
  int element = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
  const float* start = stateOf(edge, slots, sequence, heads, head);
  float4 x = start == nullptr ? make_float4(0, 0, 0, 0) : *(const float4*)(start + element);
  long long step = (long long)heads * STATE_NUMBERS;
  float* at = states + (long long)before * step + (long long)head * STATE_NUMBERS + element;
  constexpr int BATCH = 8;
  for (int i = 0; i < segments; i += BATCH) {
    float4 add[BATCH];
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
      // The last in this order adds to no state: it has no total.
      if (i + j < segments - 1) {
        add[j] = *(const float4*)(at + step * (mirrored ? segments - 1 - i - j : i + j));
      }
    }
#pragma unroll
    for (int j = 0; j < BATCH; j++) {
      if (i + j < segments) {
        int number = mirrored ? segments - 1 - i - j : i + j;
        *(float4*)(at + step * number) = x;
        if (i + j < segments - 1) {
          float decay = power(rate, min(segmentLength, length - number * segmentLength));
          x.x = fmaf(decay, x.x, add[j].x);
          x.y = fmaf(decay, x.y, add[j].y);
          x.z = fmaf(decay, x.z, add[j].z);
          x.w = fmaf(decay, x.w, add[j].w);
        }
      }
    }
  }
}

// One sweep over a segment's chunks of 64 tokens, with a state X (128 x 128, F32, in registers) of what lies before:
//
//   Y = ((A Bᵀ) ⊙ M) C + diag(factor) A X          X ← λ^m X + (diag(weight) U)ᵀ W
//
//   kernel     direction   A      B      C      X     U      W      reads       writes
//   forward    first on    φ(q)   φ(k)   v      S     φ(k)   v      q k v       o
//   queries    first on    do     v      φ(k)   Sᵀ    v      φ(k)   q k v do    dq
//   keys       last on     v      do     φ(q)   dSᵀ   φ(q)   do     q k v do    dk
//     "          "         φ(k)   φ(q)   do     dS    (one state for both)      dv
//
// A block has one head of one segment, and one multiprocessor. Its warpgroups: one copies tiles (64 tokens x 128,
// 16 KB) into a ring of stages in shared memory; one keeps the state: publishes it in BF16 for the others, applies φ to
// B or C where they lie, and adds the chunk to it; two compute results, of even and odd chunks, or dv and dk.
//
// Dynamic shared memory: tiles, two published states, barriers, as LightningHopper counts them.
#pragma once

#include "lightning_hopper.cuh"

namespace hopper {

constexpr int STATES = 2;
constexpr int STATE = DIM * DIM * 2;
constexpr int HALF_STATE = STATE / 2;

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
  /** Nobody needs the stage any more: every thread says so for itself. */
  DEVICE unsigned empty(int stage) const { return barriers + (Stages + stage) * 8; }
  /** phi is applied and the state published. */
  DEVICE unsigned ready(int stage) const { return barriers + (2 * Stages + stage) * 8; }
  /** Nobody needs the published state any more. */
  DEVICE unsigned used(int i) const { return barriers + (3 * Stages + i) * 8; }

  __device__ void init(int readers) const {
    if (threadIdx.x == 0) {
      for (int i = 0; i < Stages; i++) {
        barrierInit(full(i), 128);
        barrierInit(empty(i), 128 + 128 * readers);
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
    arrive(layout.empty(turn.at));
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
    arrive(layout.empty(turn.at));
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

}  // namespace hopper

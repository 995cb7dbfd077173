// The states between the segments of a sequence: what each segment adds, without tokens whose weight is below 2^-150;
// from that the states at its ends. Of each state: two tensors (T, H, 128) read, 32,768 FLOP of the tensor cores per
// token and head.
#include "lightning_hopper.cuh"

using namespace hopper;

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
      barrierInit(barriers + (TOTALS_STAGES + i) * 8, 256);
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
      arrive(barriers + (TOTALS_STAGES + turn.at) * 8);
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
 * Totals to states, in place: that before each segment (mirrored 0), or the gradient of that after it (mirrored 1).
 * edge is initial or dlast. Blocks (16, heads, count), 256 threads, four numbers a thread.
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

// Gradients of q, k, v and of the initial states, in two launches: eleven tensors (T, H, 128) read or written, 262,144
// FLOP of the tensor cores per token and head.
#include "lightning_hopper_sweep.cuh"

using namespace hopper;

typedef Layout<2, 4> BackwardLayout;

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

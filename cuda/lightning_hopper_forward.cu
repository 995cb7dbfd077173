// o, and the states at the sequences' ends: four tensors (T, H, 128) read or written, 98,304 FLOP of the tensor cores
// per token and head.
#include "lightning_hopper_sweep.cuh"

using namespace hopper;

typedef Layout<3, 3> ForwardLayout;

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

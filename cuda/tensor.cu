// Copies of tensors, between types and between memories.
//
// convert: y_i = x_i for n contiguous elements, rounded once to nearest, ties to even. Block b of 256 threads takes
// elements from 2048 b on, eight to a thread. Bytes: 6 an element; no arithmetic. Elements are independent: same input,
// same bits.
//
// move: n bytes as they are, 16 to a thread, where one side is pinned memory of the host: in a recorded graph a kernel
// costs a third of what a node for the copy engines does, whose ends the multiprocessors wait for.
#include "common.cuh"

constexpr int PER_THREAD = 8;

template <class T>
DEVICE void load_eight(const T* x, long long count, float (&values)[PER_THREAD]) {
#pragma unroll
  for (int i = 0; i < PER_THREAD; i += LANES<T>) {
    float part[LANES<T>];
    unpack(load_some(x + i, count - i), part);
#pragma unroll
    for (int j = 0; j < LANES<T>; j++) {
      values[i + j] = part[j];
    }
  }
}

template <class T>
DEVICE void store_eight(T* y, long long count, const float (&values)[PER_THREAD]) {
#pragma unroll
  for (int i = 0; i < PER_THREAD; i += LANES<T>) {
    float part[LANES<T>];
#pragma unroll
    for (int j = 0; j < LANES<T>; j++) {
      part[j] = values[i + j];
    }
    store_some(y + i, count - i, pack(part));
  }
}

template <class X, class Y>
DEVICE void convert(const X* x, Y* y, long long n) {
  long long first = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * PER_THREAD;
  if (first < n) {
    float values[PER_THREAD];
    load_eight(x + first, n - first, values);
    store_eight(y + first, n - first, values);
  }
}

extern "C" __global__ void tensor_convert_bf16_f32(const bf16* x, float* y, long long n) { convert(x, y, n); }

extern "C" __global__ void tensor_convert_f32_bf16(const float* x, bf16* y, long long n) { convert(x, y, n); }

extern "C" __global__ void tensor_move(const uint4* x, uint4* y, long long n) {
  await_predecessor();
  release_successor();
  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (16 * i + 16 <= n) {
    y[i] = x[i];
  } else {
    auto from = reinterpret_cast<const unsigned char*>(x);
    auto to = reinterpret_cast<unsigned char*>(y);
    for (long long j = 16 * i; j < n; j++) {
      to[j] = from[j];
    }
  }
}

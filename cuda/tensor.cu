// Copies of tensors between types.
//
// y_i = x_i for n contiguous elements, rounded once to nearest, ties to even. Block b of 256 threads takes elements
// from 2048 b on, eight to a thread. Bytes: 6 an element; no arithmetic. Elements are independent: same input, same bits.
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

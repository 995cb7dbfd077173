// The second stage of sums over tokens: partial sums of parameters, joined in a fixed order and added to a gradient.
#pragma once
#include "common.cuh"

constexpr int COLUMNSUMS_WIDTH = 32;
constexpr int COLUMNSUMS_HEIGHT = 32;

/**
 * gradient[r, c] += Σ_i partial[i, r * columns + c] over `parts` rows of partial, whose rows are contiguous. A thread
 * takes every 32nd part, in order, in double; the 32 sums of a column are added in order; one rounding at the end.
 * Block (32, 32), grid ⌈rows * columns / 32⌉.
 */
DEVICE void add_column_sums(const float* partial, int parts, int rows, int columns, float* gradient,
                            long long gradient_stride) {
  __shared__ double sums[COLUMNSUMS_HEIGHT][COLUMNSUMS_WIDTH];
  const long long size = (long long)rows * columns;
  const long long at = (long long)blockIdx.x * COLUMNSUMS_WIDTH + threadIdx.x;
  double sum = 0.0;
  if (at < size) {
#pragma unroll 8
    for (int i = threadIdx.y; i < parts; i += COLUMNSUMS_HEIGHT) {
      sum += (double)partial[i * size + at];
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && at < size) {
#pragma unroll
    for (int i = 1; i < COLUMNSUMS_HEIGHT; i++) {
      sum += sums[i][threadIdx.x];
    }
    float* to = gradient + at / columns * gradient_stride + at % columns;
    *to = (float)((double)*to + sum);
  }
}

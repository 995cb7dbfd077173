// How elementwise kernels cut a (rows, columns) matrix, or (rows, heads, columns) where heads lie apart: a thread takes
// one piece of 16 bytes in each of ROWS rows, neighbours neighbouring pieces. Block (x, y), grid (⌈rows / (ROWS y)⌉,
// ⌈columns / (LANES x)⌉, heads). Java's counterpart is RowTiles.
#pragma once
#include "common.cuh"

/** Rows of a thread: so many independent loads of each operand. */
constexpr int ROWS = 4;
constexpr int TILE_THREADS = 256;

/** What one thread has to do. */
template <class T>
struct Tile {
  long long row;
  long long column;
  long long rows;
  long long left;

  DEVICE Tile(long long all_rows, long long columns) {
    row = (long long)blockIdx.x * ROWS * blockDim.y + threadIdx.y;
    column = ((long long)blockIdx.y * blockDim.x + threadIdx.x) * LANES<T>;
    rows = all_rows;
    left = columns - column;
  }

  /** Elements of row k, 0 or less if there are none. */
  DEVICE long long count(int k) const { return row + (long long)k * blockDim.y < rows ? left : 0; }

  DEVICE long long offset(int k, long long row_stride, long long head_stride) const {
    return (row + (long long)k * blockDim.y) * row_stride + blockIdx.z * head_stride + column;
  }

  DEVICE void load(const T* x, long long row_stride, long long head_stride, Pack<T> (&pieces)[ROWS]) const {
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
      pieces[k] = load_some(x + offset(k, row_stride, head_stride), count(k));
    }
  }

  DEVICE void store(T* y, long long row_stride, long long head_stride, const Pack<T> (&pieces)[ROWS]) const {
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
      store_some(y + offset(k, row_stride, head_stride), count(k), pieces[k]);
    }
  }
};

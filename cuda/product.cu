// The elementwise product of the gates, y = a ⊙ b: SPEC section 3.6. (rows, columns) with any row stride, cut as
// tiles.cuh says. Everything is read before anything is written, by the thread that writes it, so outputs may be inputs.
// Bytes: forward 3 tensors, backward 5, backward and forward 6. One rounding an element, of a product that is exact for
// BF16.
#include "tiles.cuh"

template <class T>
DEVICE void forward(const T* a, long long a_stride, const T* b, long long b_stride, T* y, long long y_stride,
                    long long rows, long long columns) {
  release_successor();
  await_predecessor();
  const Tile<T> tile(rows, columns);
  Pack<T> as[ROWS], bs[ROWS];
  tile.load(a, a_stride, 0, as);
  tile.load(b, b_stride, 0, bs);
#pragma unroll
  for (int k = 0; k < ROWS; k++) {
    as[k] = times(as[k], bs[k]);
  }
  tile.store(y, y_stride, 0, as);
}

/** y: null, or where a ⊙ b goes. */
template <class T>
DEVICE void backward(const T* a, long long a_stride, const T* b, long long b_stride, const T* dy, long long dy_stride,
                     T* da, long long da_stride, T* db, long long db_stride, T* y, long long y_stride, long long rows,
                     long long columns) {
  const Tile<T> tile(rows, columns);
  Pack<T> as[ROWS], bs[ROWS], dys[ROWS];
  tile.load(a, a_stride, 0, as);
  tile.load(b, b_stride, 0, bs);
  tile.load(dy, dy_stride, 0, dys);
#pragma unroll
  for (int k = 0; k < ROWS; k++) {
    const Pack<T> product = times(as[k], bs[k]);
    bs[k] = times(dys[k], bs[k]);
    as[k] = times(dys[k], as[k]);
    dys[k] = product;
  }
  tile.store(da, da_stride, 0, bs);
  tile.store(db, db_stride, 0, as);
  if (y != nullptr) {
    tile.store(y, y_stride, 0, dys);
  }
}

#define PRODUCT_KERNELS(SUFFIX, T)                                                                                     \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      product_forward_##SUFFIX(const T* a, long long a_stride, const T* b, long long b_stride, T* y,                   \
                               long long y_stride, long long rows, long long columns) {                                \
    forward<T>(a, a_stride, b, b_stride, y, y_stride, rows, columns);                                                  \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(TILE_THREADS)                                                           \
      product_backward_##SUFFIX(const T* a, long long a_stride, const T* b, long long b_stride, const T* dy,           \
                                long long dy_stride, T* da, long long da_stride, T* db, long long db_stride, T* y,     \
                                long long y_stride, long long rows, long long columns) {                               \
    backward<T>(a, a_stride, b, b_stride, dy, dy_stride, da, da_stride, db, db_stride, y, y_stride, rows, columns);    \
  }

PRODUCT_KERNELS(f32, float)
PRODUCT_KERNELS(bf16, bf16)

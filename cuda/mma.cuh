// Tiles in shared memory for the matrix products of a warp.
#pragma once
#include "ptx.cuh"

/** Where 16-byte piece `piece` of row `row` lies: moved so that eight rows of one piece meet no bank twice. */
template <int ROW_BYTES>
DEVICE unsigned swizzled(int row, int piece) {
  static_assert(ROW_BYTES == 64 || ROW_BYTES % 128 == 0, "whole lines");
  const int turn = ROW_BYTES == 64 ? row / 2 % 4 : row % 8;
  return row * ROW_BYTES + ((piece ^ turn) << 4);
}

// Tensor cores of compute capability 8.0 and later: matrix products of a warp, how their operands come out of shared
// memory, and copies into it that nobody waits for.
#pragma once
#include "common.cuh"

DEVICE unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

/** Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l mod 8 of matrix l / 8. */
DEVICE void ldmatrix(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/** The same, each matrix transposed. */
DEVICE void ldmatrix_transposed(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/**
 * c += a b, a 16 x 16, b 16 x 8, c 16 x 8. Lane l has of c the rows l / 4 (c[0], c[1]) and l / 4 + 8 (c[2], c[3]),
 * columns 2 (l mod 4) and the next.
 */
DEVICE void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/** 16 bytes from global to shared memory, or zeros there unless `real`; done when wait_copies() of this thread returns. */
DEVICE void copy16(unsigned to, const void* from, bool real) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(real ? 16 : 0) : "memory");
}

DEVICE void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/** Where 16-byte piece `piece` of row `row` lies: moved so that eight rows of one piece meet no bank twice. */
template <int ROW_BYTES>
DEVICE unsigned swizzled(int row, int piece) {
  static_assert(ROW_BYTES == 64 || ROW_BYTES % 128 == 0, "whole lines");
  const int turn = ROW_BYTES == 64 ? row / 2 % 4 : row % 8;
  return row * ROW_BYTES + ((piece ^ turn) << 4);
}

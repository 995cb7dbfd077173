/*
 * Wrappers over what only compute capability 9.0 has (sm_90a), and the few older instructions used beside it: mbarrier,
 * copies into swizzled shared memory (cp.async, and by tensor map), ldmatrix and stmatrix, wgmma.
 *
 * Tiles in shared memory are columns of 64 bf16 (128 bytes a row, rows one after the other), the 16-byte pieces of a row
 * permuted by (row mod 8): the hardware's 128-byte swizzle. A tile starts at a multiple of 1024 bytes.
 */
#pragma once

#include "common.cuh"

namespace hopper {

// ---- numbers ----

/** Two bf16 of one word, the first in the low half. */
DEVICE float low(unsigned pair) { return __uint_as_float(pair << 16); }

DEVICE float high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// ---- shared memory ----

/** Byte offset of 16-byte piece `piece` (0 .. 7) of row `row` in a tile 64 bf16 wide. */
DEVICE unsigned swizzled(int row, int piece) { return row * 128 + ((piece ^ (row & 7)) << 4); }

/** As copy16, and the line of 256 bytes comes into the second-level cache: the rows of neighbours follow. */
DEVICE void copy16_of_line(unsigned to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;"
    :: "r"(to), "l"(from), "r"(valid ? 16 : 0) : "memory");
}

DEVICE void store4(unsigned address, const unsigned (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
    :: "r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

DEVICE void store4Transposed(unsigned address, const unsigned (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
    :: "r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

DEVICE void load16(unsigned (&r)[4], unsigned address) {
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
    : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

DEVICE void store16(unsigned address, const unsigned (&r)[4]) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};"
    :: "r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

/** Orders this thread's ordinary accesses of shared memory, and those it has seen, before later ones of wgmma. */
DEVICE void fenceAsync() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- barriers: count arrivals end a phase; phases have parity 0, 1, 0, ... ----

DEVICE void barrierInit(unsigned barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(count) : "memory");
}

DEVICE void arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory");
}

/** One arrival for a warp. */
DEVICE void arriveWarp(unsigned barrier) {
  __syncwarp();
  if ((threadIdx.x & 31) == 0) {
    arrive(barrier);
  }
}

/** Arrives once the copies this thread has issued so far are there, for wgmma too. */
DEVICE void arriveCopies(unsigned barrier) {
  wait_copies();
  fenceAsync();
  arrive(barrier);
}

/** Arrives, and makes the phase wait for so many bytes of copies by tensor map. */
DEVICE void arriveExpecting(unsigned barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(barrier), "r"(bytes) : "memory");
}

/** What the driver's cuTensorMapEncodeTiled wrote: where a tensor lies, and what box of it a copy takes. */
struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};

/** Copies the box at these coordinates; one thread does it for all. */
DEVICE void copyBox(unsigned to, const TensorMap* map, int c0, int c1, int c2, int c3,
    unsigned barrier) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
    "[%0], [%1, {%2, %3, %4, %5}], [%6];"
    :: "r"(to), "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(barrier) : "memory");
}

/** Waits for the end of the phase of this parity. The one before the first has parity 1. */
DEVICE void wait(unsigned barrier, int parity) {
  asm volatile("{\n.reg .pred p;\n"
    "WAIT:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\nDONE:\n}\n"
    :: "r"(barrier), "r"(parity) : "memory");
}

/** Among the four warps of a warpgroup; id 1 .. 15. */
DEVICE void syncGroup(int id) { asm volatile("bar.sync %0, 128;" :: "r"(id) : "memory"); }

// ---- registers of a warpgroup ----

template <int N>
DEVICE void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N));
}

template <int N>
DEVICE void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N));
}

// ---- wgmma ----

/**
 * Descriptor of an operand in swizzled tiles. Rows along M or N, 64 of K in a row (Transposed 0): `block` is unused. Rows
 * along K, 64 of N in a row (Transposed 1): `block` is the distance in bytes of the tiles that follow each other along N.
 */
DEVICE unsigned long long operand(unsigned address, int block) {
  return (unsigned long long)((address & 0x3ffff) >> 4) | (unsigned long long)(block >> 4) << 16
    | (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}

/** Before the first wgmma that reads or writes registers written by ordinary code. */
DEVICE void wgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

DEVICE void wgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/** Waits until at most N of the committed groups are unfinished. */
template <int N>
DEVICE void wgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory");
}

#define HOPPER_F8(d, i)                                                                                     \
  "+f"((d)[i]), "+f"((d)[(i) + 1]), "+f"((d)[(i) + 2]), "+f"((d)[(i) + 3]), "+f"((d)[(i) + 4]),           \
  "+f"((d)[(i) + 5]), "+f"((d)[(i) + 6]), "+f"((d)[(i) + 7])

/** d (64 x 64) += a (64 x 16, registers) b (16 x 64, shared memory); d is overwritten where accumulate is 0. */
template <int Transposed>
DEVICE void wgmma64(float (&d)[32], const unsigned (&a)[4], unsigned long long b, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
    "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
    "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}\n"
    :   HOPPER_F8(d, 0), HOPPER_F8(d, 8), HOPPER_F8(d, 16), HOPPER_F8(d, 24)
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(Transposed));
}

/** d (64 x 128) += a (64 x 16, registers) b (16 x 128, shared memory); d is overwritten where accumulate is 0. */
template <int Transposed>
DEVICE void wgmma128(float (&d)[64], const unsigned (&a)[4], unsigned long long b, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
    "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31,"
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47,"
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
    "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}\n"
    :   HOPPER_F8(d, 0), HOPPER_F8(d, 8), HOPPER_F8(d, 16), HOPPER_F8(d, 24),
      HOPPER_F8(d, 32), HOPPER_F8(d, 40), HOPPER_F8(d, 48), HOPPER_F8(d, 56)
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(Transposed));
}

/** d (64 x 64) += a (64 x 16) b (16 x 64), both in shared memory, the rows of a along M. */
template <int Transposed>
DEVICE void wgmma64(float (&d)[32], unsigned long long a, unsigned long long b, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
    "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
    "}, %32, %33, p, 1, 1, 0, %35;\n}\n"
    :   HOPPER_F8(d, 0), HOPPER_F8(d, 8), HOPPER_F8(d, 16), HOPPER_F8(d, 24)
    : "l"(a), "l"(b), "r"(accumulate), "n"(Transposed));
}

/** d (64 x 128) += a (64 x 16) b (16 x 128), both in shared memory, the rows of a along M. */
template <int Transposed>
DEVICE void wgmma128(float (&d)[64], unsigned long long a, unsigned long long b, int accumulate) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
    "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31,"
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47,"
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
    "}, %64, %65, p, 1, 1, 0, %67;\n}\n"
    :   HOPPER_F8(d, 0), HOPPER_F8(d, 8), HOPPER_F8(d, 16), HOPPER_F8(d, 24),
      HOPPER_F8(d, 32), HOPPER_F8(d, 40), HOPPER_F8(d, 48), HOPPER_F8(d, 56)
    : "l"(a), "l"(b), "r"(accumulate), "n"(Transposed));
}

#undef HOPPER_F8

}  // namespace hopper

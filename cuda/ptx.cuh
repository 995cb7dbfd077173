// The instructions that have no name in CUDA C++, each as a function, for compute capability 8.0 and later; those of 9.0
// alone are in hopper.cuh. No toolkit header is needed.
#pragma once

#define DEVICE __device__ __forceinline__

// ---- Arithmetic ------------------------------------------------------------------------------------------------

/** a in the lower half and b in the upper, rounded to nearest bfloat16, ties to even; NaN stays NaN. */
DEVICE unsigned cvt_bf16x2(float a, float b) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(b), "f"(a));
  return pair;
}

/** 1 / x, good to 1 ulp. */
DEVICE float rcp_approx(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/** The same, denormals as zero. */
DEVICE float rcp_approx_ftz(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/** 2^x, good to 2 ulp. */
DEVICE float ex2_approx(float x) {
  float y;
  asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/** The same, denormals as zero. */
DEVICE float ex2_approx_ftz(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/** The larger, NaN if one is NaN. */
DEVICE float max_nan(float a, float b) {
  float c;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
  return c;
}

/** The same of two pairs of bfloat16. */
DEVICE unsigned max_nan_bf16x2(unsigned a, unsigned b) {
  unsigned c;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
  return c;
}

// ---- Memory ----------------------------------------------------------------------------------------------------

DEVICE unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

/** 16 bytes from global to shared memory, or zeros there unless `real`; done when wait_copies() of this thread returns. */
DEVICE void copy16(unsigned to, const void* from, bool real) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(real ? 16 : 0) : "memory");
}

DEVICE void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/** Makes a group of the copies that this thread has begun since the last group; it may be empty. */
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/** Returns when of this thread's groups all but the last N are done. */
template <int N>
DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- Blocks that wait for each other ---------------------------------------------------------------------------
//
// Of a kernel whose blocks are all on the device at a time. A word of global memory, zero before its first use: its top bit
// changes when the last block comes. Launches that use one word follow each other.

/**
 * Says that this block has come here: what its threads wrote before __syncthreads() is seen by who has waited for it. One
 * thread calls it, and keeps the ticket.
 */
DEVICE unsigned arrive_at_grid(unsigned* word) {
  const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
  const bool first = blockIdx.x + blockIdx.y + blockIdx.z == 0;
  unsigned ticket;
  asm volatile("fence.acq_rel.gpu;\natom.add.relaxed.gpu.u32 %0, [%1], %2;"
               : "=r"(ticket)
               : "l"(word), "r"(first ? 0x80000000u - (blocks - 1) : 1)
               : "memory");
  return ticket;
}

/** Returns when all blocks have arrived; by the thread that arrived, before a __syncthreads(). */
DEVICE void await_grid(const unsigned* word, unsigned ticket) {
  unsigned now;
  do {
    asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(now) : "l"(word) : "memory");
  } while (((now ^ ticket) >> 31) == 0);
}

// ---- Kernels that overlap --------------------------------------------------------------------------------------
//
// Where a launch allows it (Launch.overlapping), a kernel begins before the one before it in the stream has ended.

/** Returns when the kernel before this one has ended and its writes are seen. What earlier kernels write is read after it. */
DEVICE void await_predecessor() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/** The kernel after this one may begin once every block has called this. */
DEVICE void release_successor() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- Tensor cores ----------------------------------------------------------------------------------------------

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

// What cuda/ptx.cuh has, computed by the host.
#pragma once
#include "emulator.h"

#define DEVICE inline

inline unsigned to_bfloat16(float x) {
  const unsigned u = __float_as_uint(x);
  return (u & 0x7fffffffu) > 0x7f800000u ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

inline float of_bfloat16(unsigned bits) { return __uint_as_float(bits << 16); }

DEVICE unsigned cvt_bf16x2(float a, float b) { return to_bfloat16(a) | to_bfloat16(b) << 16; }

DEVICE float rcp_approx(float x) { return 1 / x; }

DEVICE float rcp_approx_ftz(float x) { return 1 / x; }

DEVICE float ex2_approx(float x) { return exp2f(x); }

DEVICE float ex2_approx_ftz(float x) { return exp2f(x); }

DEVICE float max_nan(float a, float b) { return a != a || b != b ? NAN : a > b ? a : b; }

DEVICE unsigned max_nan_bf16x2(unsigned a, unsigned b) {
  return cvt_bf16x2(max_nan(of_bfloat16(a & 0xffff), of_bfloat16(b & 0xffff)),
                    max_nan(of_bfloat16(a >> 16), of_bfloat16(b >> 16)));
}

inline void check_aligned(const char* what, unsigned long long address) {
  if (address % 16 != 0) {
    fprintf(stderr, "emulator: %s: %s is not aligned to 16 bytes\n", emulator::kernel_name, what);
    abort();
  }
}

DEVICE unsigned shared_address(const void* p) {
  const long long offset = static_cast<const unsigned char*>(p) - emulator::shared;
  if (offset < 0 || offset >= emulator::SHARED) {
    fprintf(stderr, "emulator: %s: an address outside dynamic shared memory\n", emulator::kernel_name);
    abort();
  }
  return (unsigned)offset;
}

/** The copy is made when it is waited for: what reads too early sees what was there before. */
DEVICE void copy16(unsigned to, const void* from, bool real) {
  check_aligned("the target of a copy", to);
  emulator::Copy copy{to, {0, 0, 0, 0}, emulator::groups[emulator::current]};
  if (real) {
    check_aligned("the source of a copy", (unsigned long long)from);
    memcpy(&copy.value, from, 16);
  }
  emulator::copies[emulator::current].push_back(copy);
}

/** Makes the copies of this thread's groups before `end`. */
inline void make_copies(int end) {
  std::vector<emulator::Copy>& copies = emulator::copies[emulator::current];
  std::vector<emulator::Copy> later;
  for (const emulator::Copy& copy : copies) {
    if (copy.group < end) {
      memcpy(emulator::shared + copy.to, &copy.value, 16);
    } else {
      later.push_back(copy);
    }
  }
  copies = std::move(later);
}

DEVICE void wait_copies() { make_copies(emulator::groups[emulator::current] + 1); }

DEVICE void commit_copies() { emulator::groups[emulator::current]++; }

template <int N>
DEVICE void wait_copies() {
  make_copies(emulator::groups[emulator::current] - N);
}

/** Kernels run one after the other here. */
DEVICE void await_predecessor() {}

DEVICE void release_successor() {}

DEVICE unsigned arrive_at_grid(unsigned* word) {
  emulator::arrive_block();
  return *word;
}

DEVICE void await_grid(const unsigned*, unsigned) { emulator::await_blocks(); }

inline void load_matrices(unsigned (&r)[4], unsigned address, bool transposed) {
  check_aligned("a row of ldmatrix", address);
  emulator::exchange(~0u, address, [&](auto of, int lane, unsigned) {
    for (int m = 0; m < 4; m++) {
      unsigned short pair[2];
      for (int u = 0; u < 2; u++) {
        const int row = transposed ? 2 * (lane % 4) + u : lane / 4;
        const int column = transposed ? lane / 4 : 2 * (lane % 4) + u;
        memcpy(&pair[u], emulator::shared + of(8 * m + row) + 2 * column, 2);
      }
      r[m] = pair[0] | (unsigned)pair[1] << 16;
    }
    return 0;
  });
}

DEVICE void ldmatrix(unsigned (&r)[4], unsigned address) { load_matrices(r, address, false); }

DEVICE void ldmatrix_transposed(unsigned (&r)[4], unsigned address) { load_matrices(r, address, true); }

DEVICE void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  struct Operands {
    unsigned a[4], b[2];
  };
  emulator::exchange(~0u, Operands{{a[0], a[1], a[2], a[3]}, {b0, b1}}, [&](auto of, int lane, unsigned) {
    for (int u = 0; u < 4; u++) {
      const int column = 2 * (lane % 4) + u % 2;
      double sum = c[u];
      for (int quad = 0; quad < 4; quad++) {
        const Operands left = of(lane / 4 * 4 + quad), right = of(column * 4 + quad);
        for (int half = 0; half < 2; half++) {
          const unsigned x = left.a[u / 2 + 2 * half], y = right.b[half];
          sum += (double)of_bfloat16(x & 0xffff) * of_bfloat16(y & 0xffff);
          sum += (double)of_bfloat16(x >> 16) * of_bfloat16(y >> 16);
        }
      }
      c[u] = (float)sum;
    }
    return 0;
  });
}

// CUDA C++ for a C++ compiler of the host: the kernels of cuda/ run on the CPU, a block at a time, each thread a fiber that
// runs until it has to wait for others. Slow, but the same source, so it finds wrong indices, barriers and sums where there
// is no GPU. Shared memory starts out as NaN; a block whose threads wait for each other for ever ends the process.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __align__(n) alignas(n)
#define __shared__ static
#define __restrict__ __restrict
// Found by the build, which makes the list of kernels from it.
#define __global__ EMULATED_KERNEL

// ---- Types -----------------------------------------------------------------------------------------------------

struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

// ---- Fibers ----------------------------------------------------------------------------------------------------

extern "C" __attribute__((visibility("hidden"))) void emulator_switch(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
.text
.hidden emulator_switch
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");
#else
#error "the emulator switches stacks on x86-64 only"
#endif

namespace emulator {

constexpr int STACK = 256 << 10;
constexpr int MOST_THREADS = 1024;
constexpr int SHARED = 256 << 10;
/** Blocks that are on the device at a time, of a kernel whose blocks wait for each other. */
constexpr unsigned MULTIPROCESSORS = 8;

struct Fiber {
  void* stack_pointer;
  char* stack = nullptr;
  bool done;
};

struct Warp {
  unsigned alive, arrived;
  int generation;
  unsigned present[2];
  unsigned char values[2][32][32];
};

struct Copy {
  unsigned to;
  uint4 value;
  int group;
};

inline Fiber fibers[MOST_THREADS];
/** Stacks of blocks that were put aside and are done. */
inline std::vector<char*> spare_stacks;
inline Warp warps[MOST_THREADS / 32];
inline std::vector<Copy> copies[MOST_THREADS];
/** Groups of copies that a thread has made. */
inline int groups[MOST_THREADS];
alignas(1024) inline unsigned char shared[SHARED];
inline void* launcher;
/** Blocks of the grid that have arrived where all wait for each other, and whether the block at hand waits there. */
inline unsigned arrived_blocks;
inline bool waits_for_grid;
inline const char* kernel_name;
inline void (*body)(void**);
inline void** arguments;
inline int threads, alive, current, arrived, barrier;
/** Turns since a thread last came further. */
inline long idle;
/** Whose turn follows: the next thread or the one before, by turns of blocks, so that no order is relied upon. */
inline int direction = -1;

inline void become(int i) {
  current = i;
  threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
}

/** The thread whose turn it is after one. */
inline int after(int i) {
  do {
    i = (i + direction + threads) % threads;
  } while (fibers[i].done);
  return i;
}

inline void yield() {
  if (++idle > 8L * threads + 64) {
    fprintf(stderr, "emulator: %s: the threads of block (%u, %u, %u) wait for each other\n", kernel_name, blockIdx.x,
            blockIdx.y, blockIdx.z);
    abort();
  }
  const int from = current;
  const int to = after(from);
  if (to != from) {
    become(to);
    emulator_switch(&fibers[from].stack_pointer, fibers[to].stack_pointer);
  }
}

inline void release_barrier() {
  arrived = 0;
  barrier++;
  idle = 0;
}

inline void run_fiber() {
  body(arguments);
  const int from = current;
  fibers[from].done = true;
  warps[from / 32].alive &= ~(1u << from % 32);
  idle = 0;
  if (--alive == 0) {
    void* unused;
    emulator_switch(&unused, launcher);
  }
  if (arrived == alive) {
    release_barrier();
  }
  const int to = after(from);
  become(to);
  void* unused;
  emulator_switch(&unused, fibers[to].stack_pointer);
  abort();
}

inline void run_block() {
  memset(shared, 0xff, sizeof shared);
  alive = threads;
  arrived = 0;
  idle = 0;
  for (int i = 0; i < threads; i++) {
    Fiber& f = fibers[i];
    if (f.stack == nullptr && spare_stacks.empty()) {
      f.stack = static_cast<char*>(aligned_alloc(64, STACK));
    } else if (f.stack == nullptr) {
      f.stack = spare_stacks.back();
      spare_stacks.pop_back();
    }
    f.done = false;
    copies[i].clear();
    groups[i] = 0;
    // Six registers, then where to go: aligned as behind a call.
    void** top = reinterpret_cast<void**>(f.stack + STACK - 64);
    *top = reinterpret_cast<void*>(run_fiber);
    f.stack_pointer = top - 6;
    memset(f.stack_pointer, 0, 6 * sizeof(void*));
    if (i % 32 == 0) {
      const int lanes = std::min(32, threads - i);
      warps[i / 32] = Warp{lanes == 32 ? ~0u : (1u << lanes) - 1, 0, 0, {0, 0}, {}};
    }
  }
  direction = -direction;
  const int first = direction > 0 ? 0 : threads - 1;
  become(first);
  emulator_switch(&launcher, fibers[first].stack_pointer);
}

/** A block that waits for the others, once, put aside. Its static shared memory is not: no kernel needs that across a wait. */
struct Waiting {
  uint3 index;
  int alive, arrived, barrier, current, direction;
  std::vector<Fiber> fibers_of;
  std::vector<Warp> warps_of;
  std::vector<std::vector<Copy>> copies_of;
  std::vector<int> groups_of;
  std::vector<unsigned char> shared_of;

  void take() {
    index = blockIdx;
    alive = emulator::alive;
    arrived = emulator::arrived;
    barrier = emulator::barrier;
    current = emulator::current;
    direction = emulator::direction;
    fibers_of.assign(fibers, fibers + threads);
    warps_of.assign(warps, warps + (threads + 31) / 32);
    copies_of.assign(copies, copies + threads);
    groups_of.assign(groups, groups + threads);
    shared_of.assign(shared, shared + SHARED);
    for (int i = 0; i < threads; i++) {
      fibers[i].stack = nullptr;
    }
  }

  void go_on() {
    blockIdx = index;
    emulator::alive = alive;
    emulator::arrived = arrived;
    emulator::barrier = barrier;
    emulator::direction = direction;
    for (int i = 0; i < threads; i++) {
      if (fibers[i].stack != nullptr) {
        spare_stacks.push_back(fibers[i].stack);
      }
    }
    std::copy(fibers_of.begin(), fibers_of.end(), fibers);
    std::copy(warps_of.begin(), warps_of.end(), warps);
    std::copy(copies_of.begin(), copies_of.end(), copies);
    std::copy(groups_of.begin(), groups_of.end(), groups);
    memcpy(shared, shared_of.data(), SHARED);
    idle = 0;
    become(current);
    emulator_switch(&launcher, fibers[current].stack_pointer);
  }
};

/** One thread of the block says that it has come to where blocks wait for each other. */
inline void arrive_block() {
  if (gridDim.x * gridDim.y * gridDim.z > MULTIPROCESSORS) {
    fprintf(stderr, "emulator: %s: %u blocks that wait for each other cannot be on the device at a time\n", kernel_name,
            gridDim.x * gridDim.y * gridDim.z);
    abort();
  }
  arrived_blocks++;
}

/** Puts the block aside until all have arrived. */
inline void await_blocks() {
  while (arrived_blocks < gridDim.x * gridDim.y * gridDim.z) {
    waits_for_grid = true;
    emulator_switch(&fibers[current].stack_pointer, launcher);
  }
}

inline void run(const char* name, void (*kernel)(void**), dim3 grid, dim3 block, void** values) {
  kernel_name = name;
  body = kernel;
  arguments = values;
  gridDim = grid;
  blockDim = block;
  threads = block.x * block.y * block.z;
  arrived_blocks = 0;
  std::vector<Waiting> waiting;
  for (unsigned z = 0; z < grid.z; z++) {
    for (unsigned y = 0; y < grid.y; y++) {
      for (unsigned x = 0; x < grid.x; x++) {
        blockIdx = {x, y, z};
        waits_for_grid = false;
        run_block();
        if (waits_for_grid) {
          waiting.emplace_back().take();
        }
      }
    }
  }
  for (Waiting& block : waiting) {
    if (arrived_blocks < grid.x * grid.y * grid.z) {
      fprintf(stderr, "emulator: %s: a block never comes to where the others wait for it\n", name);
      abort();
    }
    block.go_on();
  }
}

/** Every lane of `mask` gives a value and sees those of the others. */
template <class T, class Use>
auto exchange(unsigned mask, T value, Use use) {
  static_assert(sizeof(T) <= 32);
  Warp& w = warps[current / 32];
  const int lane = current % 32;
  const int generation = w.generation, turn = generation & 1;
  memcpy(w.values[turn][lane], &value, sizeof(T));
  w.arrived |= 1u << lane;
  while (w.generation == generation) {
    const unsigned wanted = mask & w.alive;
    if ((w.arrived & wanted) == wanted) {
      w.present[turn] = w.arrived;
      w.arrived = 0;
      w.generation++;
      idle = 0;
    } else {
      yield();
    }
  }
  return use(
      [&](int i) {
        T other;
        memcpy(&other, w.values[turn][i & 31], sizeof(T));
        return other;
      },
      lane, w.present[turn]);
}

// ---- The list of kernels ---------------------------------------------------------------------------------------

struct Entry {
  const char* name;
  void (*kernel)(void**);
  std::vector<size_t> sizes;
};

inline std::vector<Entry>& entries() {
  static std::vector<Entry> all;
  return all;
}

template <auto KERNEL>
struct Kernel;

template <class... A, void (*KERNEL)(A...)>
struct Kernel<KERNEL> {
  template <size_t... I>
  static void call(void** values, std::index_sequence<I...>) {
    KERNEL(*static_cast<std::remove_reference_t<A>*>(values[I])...);
  }

  static void call(void** values) { call(values, std::index_sequence_for<A...>()); }

  static bool add(const char* name) {
    entries().push_back({name, call, {sizeof(A)...}});
    return true;
  }
};

}  // namespace emulator

// ---- What the driver calls -------------------------------------------------------------------------------------

/** The number of a kernel, or -1. */
extern "C" inline __attribute__((used, visibility("default"))) int emulated_kernel(const char* name) {
  const auto& all = emulator::entries();
  for (size_t i = 0; i < all.size(); i++) {
    if (strcmp(all[i].name, name) == 0) {
      return (int)i;
    }
  }
  return -1;
}

/** Bytes of a parameter, or 0 where there is none. */
extern "C" inline __attribute__((used, visibility("default"))) size_t emulated_parameter(int kernel, size_t i) {
  const auto& sizes = emulator::entries()[kernel].sizes;
  return i < sizes.size() ? sizes[i] : 0;
}

extern "C" inline __attribute__((used, visibility("default"))) void emulated_launch(int kernel, const unsigned* sizes, void** values) {
  const auto& entry = emulator::entries()[kernel];
  emulator::run(entry.name, entry.kernel, {sizes[0], sizes[1], sizes[2]}, {sizes[3], sizes[4], sizes[5]}, values);
}

// ---- Functions of the language ---------------------------------------------------------------------------------

inline void __syncthreads() {
  const int mine = emulator::barrier;
  if (++emulator::arrived == emulator::alive) {
    emulator::release_barrier();
  }
  while (emulator::barrier == mine) {
    emulator::yield();
  }
}

inline void __syncwarp(unsigned mask = ~0u) {
  emulator::exchange(mask, 0, [](auto, int, unsigned) { return 0; });
}

template <class T>
T __shfl_sync(unsigned mask, T x, int from) {
  return emulator::exchange(mask, x, [=](auto of, int, unsigned) { return of(from); });
}

template <class T>
T __shfl_xor_sync(unsigned mask, T x, int bits) {
  return emulator::exchange(mask, x, [=](auto of, int lane, unsigned) { return of(lane ^ bits); });
}

template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned steps) {
  return emulator::exchange(mask, x, [=](auto of, int lane, unsigned) { return of(lane < (int)steps ? lane : lane - steps); });
}

template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned steps) {
  return emulator::exchange(mask, x, [=](auto of, int lane, unsigned) { return of(lane + steps > 31 ? lane : lane + steps); });
}

inline unsigned __ballot_sync(unsigned mask, int x) {
  return emulator::exchange(mask, x, [=](auto of, int, unsigned present) {
    unsigned bits = 0;
    for (int i = 0; i < 32; i++) {
      bits |= (present & mask) >> i & 1 && of(i) != 0 ? 1u << i : 0;
    }
    return bits;
  });
}

template <class T>
unsigned __match_any_sync(unsigned mask, T x) {
  return emulator::exchange(mask, x, [=](auto of, int, unsigned present) {
    unsigned bits = 0;
    for (int i = 0; i < 32; i++) {
      bits |= (present & mask) >> i & 1 && of(i) == x ? 1u << i : 0;
    }
    return bits;
  });
}

inline float __uint_as_float(unsigned x) { float y; memcpy(&y, &x, 4); return y; }
inline float __int_as_float(int x) { float y; memcpy(&y, &x, 4); return y; }
inline unsigned __float_as_uint(float x) { unsigned y; memcpy(&y, &x, 4); return y; }
inline int __float_as_int(float x) { int y; memcpy(&y, &x, 4); return y; }
inline int __double2loint(double x) { long long y; memcpy(&y, &x, 8); return (int)y; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752f); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}

template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}

template <class T>
T atomicAdd(T* p, T x) {
  const T old = *p;
  *p += x;
  return old;
}

template <class T>
T atomicOr(T* p, T x) {
  const T old = *p;
  *p |= x;
  return old;
}

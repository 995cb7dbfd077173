// Sums over ranks whose parts lie beside each other. SPEC section 7.
//
// x_i = ((x^0_i + x^1_i) + x^2_i) + …, in F32, rounded once to the type, for n contiguous elements of this rank's slice:
// its own are in x, those of the other ranks, in their order, in pieces of `stride` elements from `inbox` on. The sum
// replaces x, and goes to `published`, where the other ranks fetch it. inbox, published and stride are aligned to 16 bytes;
// x need not be. Bytes: ranks reads and two writes of the slice; an addition an element and rank. Two ranks add pairs: x and
// what the other one sent, two reads and a write, by kernels that have the device to themselves.
//
// The others run beside products, whose blocks take a multiprocessor's shared memory and all its registers but 1,024 (384
// threads of 168): a block is one warp, of no more than 32 registers, and finds room there. Where nothing else runs 32 such
// blocks share a multiprocessor, which the bounds of launches below say in a way that older compilers know (a block of 64
// threads, 32 at a time). Same input, same bits.
#include "common.cuh"

constexpr int WARP = 32;
/** 16 bytes each, of a thread. */
constexpr int PIECES = 8;

/** What a rank sums: its own part in x, the others' one behind the other. */
template <class T>
struct Parts {
  T* x;
  const T* inbox;
  long long stride;
  T* published;
  long long n;
  int rank, ranks;
};

DEVICE void add(float (&sum)[4], Pack<float> x) {
  sum[0] += __uint_as_float(x.raw.x);
  sum[1] += __uint_as_float(x.raw.y);
  sum[2] += __uint_as_float(x.raw.z);
  sum[3] += __uint_as_float(x.raw.w);
}

/** Without a second array of floats, for which there are no registers. */
DEVICE void add(float (&sum)[8], Pack<bf16> x) {
  const unsigned words[4] = {x.raw.x, x.raw.y, x.raw.z, x.raw.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    sum[2 * i] += __uint_as_float(words[i] << 16);
    sum[2 * i + 1] += __uint_as_float(words[i] & 0xffff0000u);
  }
}

/** Element by element: what is not aligned, and the last ones. A sum begins with what leaves a -0 as it is. */
template <class T>
DEVICE void sum_some(const Parts<T>& parts, long long first, long long count) {
#pragma unroll 1
  for (long long i = first; i < first + count; i++) {
    float sum = -0.0f;
    const T* other = parts.inbox + i;
#pragma unroll 1
    for (int r = 0; r < parts.ranks; r++) {
      sum += to_float(r == parts.rank ? parts.x[i] : *other);
      other += r == parts.rank ? 0 : parts.stride;
    }
    parts.x[i] = parts.published[i] = from_float<T>(sum);
  }
}

template <class T>
DEVICE void sum_pieces(const Parts<T>& parts) {
  constexpr int STEP = WARP * LANES<T>;
  long long at = blockIdx.x * (long long)(PIECES * STEP) + threadIdx.x * LANES<T>;
  const bool aligned = aligned16(parts.x);
#pragma unroll 1
  for (int i = 0; i < PIECES && at < parts.n; i++, at += STEP) {
    if (!aligned || at + LANES<T> > parts.n) {
      sum_some(parts, at, min((long long)LANES<T>, parts.n - at));
      continue;
    }
    float sum[LANES<T>];
#pragma unroll
    for (int j = 0; j < LANES<T>; j++) {
      sum[j] = -0.0f;
    }
    const T* other = parts.inbox + at;
#pragma unroll 1
    for (int r = 0; r < parts.ranks; r++) {
      add(sum, load(r == parts.rank ? parts.x + at : other));
      other += r == parts.rank ? 0 : parts.stride;
    }
    const Pack<T> result = pack(sum);
    store(parts.x + at, result);
    store(parts.published + at, result);
  }
}

/** x += other, n elements; other is aligned to 16 bytes. A block of 256 threads, four pieces each. */
template <class T>
DEVICE void sum_pair(T* x, const T* other, long long n) {
  constexpr int THREADS = 256;
  constexpr int COUNT = 4;
  constexpr int STEP = THREADS * LANES<T>;
  const long long at = blockIdx.x * (long long)(COUNT * STEP) + threadIdx.x * LANES<T>;
  const bool whole = aligned16(x) && (blockIdx.x + 1) * (long long)(COUNT * STEP) <= n;
  Pack<T> mine[COUNT], theirs[COUNT];
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    const long long here = at + i * STEP;
    mine[i] = whole ? load(x + here) : load_some(x + here, n - here);
    theirs[i] = whole ? load(other + here) : load_some(other + here, n - here);
  }
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    const long long here = at + i * STEP;
    float sum[LANES<T>];
    unpack(mine[i], sum);
    add(sum, theirs[i]);
    store_some(x + here, n - here, pack(sum));
  }
}

extern "C" __global__ void __launch_bounds__(256) sums_pair_f32(float* x, const float* other, long long n) {
  sum_pair(x, other, n);
}

extern "C" __global__ void __launch_bounds__(256) sums_pair_bf16(bf16* x, const bf16* other, long long n) {
  sum_pair(x, other, n);
}

extern "C" __global__ void __launch_bounds__(64, 32) sums_f32(float* x, const float* inbox, long long stride, float* published,
                                                          long long n, int rank, int ranks) {
  sum_pieces(Parts<float>{x, inbox, stride, published, n, rank, ranks});
}

extern "C" __global__ void __launch_bounds__(64, 32) sums_bf16(bf16* x, const bf16* inbox, long long stride, bf16* published,
                                                           long long n, int rank, int ranks) {
  sum_pieces(Parts<bf16>{x, inbox, stride, published, n, rank, ranks});
}

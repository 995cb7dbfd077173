// Lightning Attention by tensor cores: the sweep of lightning.cuh for BF16 rows of whole pieces of 16 bytes, for compute
// capability 8.0 and later. SPEC section 3.3.6.
//
// Operands of products are BF16, sums F32: φ(a), φ(b), φ(c), the weighted scores of a chunk, the weighted rows of b and the
// state before a chunk are rounded where they are multiplied, y where it is written; the state itself is F32. A NaN or an
// infinity reaches all of its chunk, since 0 times it counts.
//
// Per chunk and block of COLUMNS columns 2·64·(64 K / 2 + 64 COLUMNS / 2 + 2 K COLUMNS) FLOPs that count, and a third more
// that do not: scores are formed by every group of four warps, and for later tokens too. A chunk's rows are read once.
#include "lightning.cuh"
#include "mma.cuh"

namespace {

DEVICE float rough_sigmoid(float x) {
  return rcp_approx_ftz(1.0f + ex2_approx_ftz(-1.44269504f * x));
}

/**
 * Eight numbers where they lie become f of them, or f' with SLOPE, rounded to BF16. SiLU, which models use, is made of
 * approximations that are good to 2^-18; the others one by one, so that their code is there once.
 */
template <bool SLOPE>
DEVICE void transform(Pack<bf16>* at, int f) {
  if (f == act::SILU) {
    float x[8];
    unpack(*at, x);
#pragma unroll
    for (int u = 0; u < 8; u++) {
      const float s = rough_sigmoid(x[u]);
      x[u] = SLOPE ? s * fmaf(x[u], 1.0f - s, 1.0f) : s * x[u];
    }
    *at = pack(x);
    return;
  }
  bf16* const x = reinterpret_cast<bf16*>(at);
#pragma unroll 1
  for (int u = 0; u < 8; u++) {
    const float raw = to_float(x[u]);
    x[u] = from_float<bf16>(SLOPE ? activation_derivative(f, raw) : activation(f, raw));
  }
}

/** A row of one head of an operand, tokens in the order of the sweep; strides in elements. */
struct Rows {
  const bf16* p;
  long long stride;

  DEVICE Rows(const Operand<const bf16>& from, int h, const Item& item)
      : p(from.p + item.row(0) * from.token + h * from.head), stride(item.mirrored ? -from.token : from.token) {}
};

/**
 * The sweep by tensor cores, for rows of 16-byte pieces. A block takes COLUMNS columns of the state through an item;
 * warp (i, j) has the tokens 16 i … 16 i + 15 of a chunk, the columns j of y, and the rows i of these columns of the
 * state: in F32 in registers, and for the product with a rounded to BF16 in shared memory. Tiles come by copies that run
 * one chunk ahead; the thread that copied a piece applies φ to it where it lies.
 *
 * KEYS: channels of a and b, the missing ones 0. WARP_COLUMNS times GROUPS are COLUMNS. STAGES 2: copies run ahead.
 */
template <int KEYS, int WARP_COLUMNS, int GROUPS, int STAGES>
struct TensorSweep {
  static constexpr int COLUMNS = WARP_COLUMNS * GROUPS;
  static constexpr int THREADS = 128 * GROUPS;
  static constexpr int KEY_BYTES = 2 * KEYS;
  static constexpr int COLUMN_BYTES = 2 * COLUMNS;
  static constexpr int A = 0;
  static constexpr int B = A + CHUNK * KEY_BYTES;
  static constexpr int C = B + CHUNK * KEY_BYTES;
  static constexpr int STAGE = C + CHUNK * COLUMN_BYTES;
  static constexpr int STATE = STAGES * STAGE;
  static constexpr int OUTPUT = STATE + KEYS * COLUMN_BYTES;
  static constexpr int POWERS = OUTPUT + CHUNK * COLUMN_BYTES;
  static constexpr int ROW_TILES = KEYS / 64;
  static constexpr int COLUMN_TILES = WARP_COLUMNS / 8;
  /** All, unless addresses then take too many registers. */
  static constexpr int KEYS_UNROLLED = KEYS > 128 ? 4 : KEYS / 16;

  /** Starts to copy rows [0, m) of a tile. */
  template <int ROW_BYTES>
  static DEVICE void copy(unsigned to, Rows rows, int base, int m, int width, const Item& item, const int* mask) {
    constexpr int PIECES = ROW_BYTES / 16;
    const int piece = threadIdx.x % PIECES;
    const bf16* from = rows.p + base * rows.stride + 8 * piece;
#pragma unroll
    for (int t = threadIdx.x / PIECES; t < CHUNK; t += THREADS / PIECES) {
      const bool real = t < m && 8 * piece < width && (mask == nullptr || mask[item.row(base + t)] != 0);
      copy16(to + swizzled<ROW_BYTES>(t, piece), real ? from + t * rows.stride : rows.p, real);
    }
  }

  /** φ of the pieces that this thread copied. */
  template <int ROW_BYTES>
  static DEVICE void activate(char* tile, int f, int width) {
    constexpr int PIECES = ROW_BYTES / 16;
    const int piece = threadIdx.x % PIECES;
    if (f == act::IDENTITY || 8 * piece >= width) {
      return;
    }
#pragma unroll 2
    for (int t = threadIdx.x / PIECES; t < CHUNK; t += THREADS / PIECES) {
      transform<false>(reinterpret_cast<Pack<bf16>*>(tile + swizzled<ROW_BYTES>(t, piece)), f);
    }
  }

  /**
   * The warp's scores with the first N 16s of the chunk's tokens, times λ^(t-s), rounded to BF16: fragments of an
   * operand. Those of later tokens are 0.
   */
  template <int N>
  static DEVICE void score(unsigned (&scores)[4][4], unsigned a, unsigned b, const float* powers, int i) {
    float p[2 * N][4] = {};
#pragma unroll KEYS_UNROLLED
    for (int k = 0; k < KEYS / 16; k++) {
      unsigned av[4];
      ldmatrix(av, a ^ (k << 5));
#pragma unroll
      for (int n = 0; n < N; n++) {
        unsigned bv[4];
        ldmatrix(bv, (b ^ (k << 5)) + n * 16 * KEY_BYTES);
        mma(p[2 * n], av, bv[0], bv[1]);
        mma(p[2 * n + 1], av, bv[2], bv[3]);
      }
    }
    const int row = 16 * i + threadIdx.x % 32 / 4;
#pragma unroll
    for (int n = 0; n < 2 * N; n++) {
#pragma unroll
      for (int u = 0; u < 4; u++) {
        const int distance = row + u / 2 * 8 - (8 * n + 2 * (threadIdx.x % 4) + u % 2);
        p[n][u] = distance >= 0 ? p[n][u] * powers[max(distance, 0)] : 0.0f;
      }
      scores[n / 2][n % 2 * 2] = to_bf16_pair(p[n][0], p[n][1]);
      scores[n / 2][n % 2 * 2 + 1] = to_bf16_pair(p[n][2], p[n][3]);
    }
#pragma unroll
    for (int n = N; n < 4; n++) {
#pragma unroll
      for (int u = 0; u < 4; u++) {
        scores[n][u] = 0;
      }
    }
  }

  static DEVICE void run(Operand<const bf16> a, Operand<const bf16> b, Operand<const bf16> c, Operand<bf16> y,
                         Operand<const bf16> x, const float* rates, const int* offsets, const int* slots,
                         const int* mask, const float* initial, float* last, float* totals, int count, int heads,
                         int keys, int values, int segment, int flags) {
    extern __shared__ __align__(1024) char memory[];
    const int tiles = (values + COLUMNS - 1) / COLUMNS;
    const int first = (int)(blockIdx.x % tiles) * COLUMNS;
    const int h = blockIdx.x / tiles % heads;
    const int itemIndex = blockIdx.x / tiles / heads;
    Item item;
    if (!find(offsets, count, segment, itemIndex, flags, item)) {
      return;
    }
    const bool cut = segment != WHOLE;
    const bool outputs = !(flags & TOTALS);
    if (!outputs && item.end == item.length && !(flags & NEED_LAST)) {
      return;
    }
    const int e = item.mirrored ? 0 : 1;
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int group = warp / 4;
    // Later tokens of a chunk see more of it; the warps of a processor's quarter, four apart, share that evenly.
    const int i = group % 2 == 0 ? warp % 4 : 3 - warp % 4;
    const int column = group * WARP_COLUMNS;
    const int q = lane % 4;
    const int g = lane / 4;
    const unsigned base32 = shared_address(memory);
    // Rows for ldmatrix; a piece further on is an exclusive or with its number times 16.
    const int l8 = lane % 8;
    const int upper = lane / 16 * 8 + l8;
    const unsigned addressA = base32 + A + (16 * i + lane % 16) * KEY_BYTES + (((lane / 16) ^ l8) << 4);
    const unsigned addressB = base32 + B + upper * KEY_BYTES + (((lane / 8 % 2) ^ l8) << 4);
    const unsigned addressBt = base32 + B + upper * KEY_BYTES + (((i * (KEYS / 32) + lane / 8 % 2) ^ l8) << 4);
    const unsigned columnOffset = lane % 16 * COLUMN_BYTES + (((column / 8 + lane / 16) ^ l8) << 4);
    const unsigned addressC = base32 + C + columnOffset;
    const unsigned addressS = base32 + STATE + columnOffset;
    float* powers = reinterpret_cast<float*>(memory + POWERS);

    const float r = rates[h];
    for (int n = threadIdx.x; n <= CHUNK; n += THREADS) {
      powers[n] = (float)exp(-(double)r * n);
    }
    const int slot = slots[item.sequence];
    const long long matrix = (long long)keys * values;
    float* total = totals + ((long long)itemIndex * heads + h) * matrix;
    float state[ROW_TILES][COLUMN_TILES][4];
    {
      const float* from = !outputs ? nullptr : cut ? total
                          : initial != nullptr && slot >= 0 ? initial + ((long long)slot * heads + h) * matrix
                                                            : nullptr;
      const bool transposed = !cut && (flags & TRANSPOSED_INITIAL);
      const long long keyStride = transposed ? 1 : values;
      const long long columnStride = transposed ? keys : 1;
#pragma unroll
      for (int mt = 0; mt < ROW_TILES; mt++) {
#pragma unroll
        for (int nt = 0; nt < COLUMN_TILES; nt++) {
#pragma unroll
          for (int u = 0; u < 4; u++) {
            const int k = i * (KEYS / 4) + 16 * mt + g + u / 2 * 8;
            const int j = first + column + 8 * nt + 2 * q + u % 2;
            state[mt][nt][u] = from != nullptr && k < keys && j < values ? from[k * keyStride + j * columnStride] : 0.0f;
          }
        }
      }
    }
    const Rows rowsA(a, h, item), rowsB(b, h, item);
    Rows rowsC(c, h, item), rowsX(x, h, item);
    rowsC.p += first;
    rowsX.p += first;
    const int width = min(COLUMNS, values - first);
    auto copies = [&](int stage, int base) {
      const int m = min(CHUNK, item.end - base);
      const unsigned to = base32 + stage * STAGE;
      if (outputs) {
        copy<KEY_BYTES>(to + A, rowsA, base, m, keys, item, flags & MASK_A ? mask : nullptr);
      }
      copy<KEY_BYTES>(to + B, rowsB, base, m, keys, item, flags & MASK_B ? mask : nullptr);
      copy<COLUMN_BYTES>(to + C, rowsC, base, m, width, item, flags & MASK_C ? mask : nullptr);
    };
    // A warp's own part of the output's tile: 16 rows, WARP_COLUMNS / 8 pieces, some of each lane.
    constexpr int PIECES = WARP_COLUMNS / 8;
    const int ownPiece = column / 8 + lane % PIECES;
    auto copyX = [&](int base) {
      if (outputs && x.f != act::IDENTITY) {
#pragma unroll
        for (int t = 16 * i + lane / PIECES; t < 16 * i + 16; t += 32 / PIECES) {
          const bool real = base + t < item.end && 8 * ownPiece < width;
          copy16(base32 + OUTPUT + swizzled<COLUMN_BYTES>(t, ownPiece),
                 real ? rowsX.p + (base + t) * rowsX.stride + 8 * ownPiece : rowsX.p, real);
        }
      }
    };
    copies(0, item.begin);
    copyX(item.begin);

    int stage = 0;
    for (int base = item.begin; base < item.end; base += CHUNK) {
      const int m = min(CHUNK, item.end - base);
      char* const tile = memory + stage * STAGE;
      wait_copies();
      activate<KEY_BYTES>(tile + B, b.f, keys);
      activate<COLUMN_BYTES>(tile + C, c.f, width);
      if (outputs) {
        activate<KEY_BYTES>(tile + A, a.f, keys);
        if (x.f != act::IDENTITY) {
#pragma unroll 2
          for (int t = 16 * i + lane / PIECES; t < 16 * i + 16; t += 32 / PIECES) {
            transform<true>(reinterpret_cast<Pack<bf16>*>(memory + OUTPUT + swizzled<COLUMN_BYTES>(t, ownPiece)), x.f);
          }
        }
        // The state before this chunk; everybody has done with the one before.
#pragma unroll
        for (int mt = 0; mt < ROW_TILES; mt++) {
#pragma unroll
          for (int nt = 0; nt < COLUMN_TILES; nt++) {
#pragma unroll
            for (int u = 0; u < 2; u++) {
              const int k = i * (KEYS / 4) + 16 * mt + g + 8 * u;
              *reinterpret_cast<unsigned*>(memory + STATE + swizzled<COLUMN_BYTES>(k, column / 8 + nt) + 4 * q) =
                  to_bf16_pair(state[mt][nt][2 * u], state[mt][nt][2 * u + 1]);
            }
          }
        }
      }
      __syncthreads();
      if (STAGES > 1 && base + CHUNK < item.end) {
        copies(1 - stage, base + CHUNK);
      }
      const unsigned offset = stage * STAGE;

      float out[COLUMN_TILES][4] = {};
      unsigned scores[4][4];
      if (outputs) {
        if (i < 2) {
          score<2>(scores, addressA + offset, addressB + offset, powers, i);
        } else {
          score<4>(scores, addressA + offset, addressB + offset, powers, i);
        }
#pragma unroll KEYS_UNROLLED
        for (int k = 0; k < KEYS / 16; k++) {
          unsigned av[4];
          ldmatrix(av, (addressA + offset) ^ (k << 5));
#pragma unroll
          for (int n = 0; n < COLUMN_TILES / 2; n++) {
            unsigned sv[4];
            ldmatrix_transposed(sv, (addressS ^ (n << 5)) + k * 16 * COLUMN_BYTES);
            mma(out[2 * n], av, sv[0], sv[1]);
            mma(out[2 * n + 1], av, sv[2], sv[3]);
          }
        }
        const float low = powers[16 * i + g + e];
        const float high = powers[16 * i + g + 8 + e];
#pragma unroll
        for (int n = 0; n < COLUMN_TILES; n++) {
          out[n][0] *= low;
          out[n][1] *= low;
          out[n][2] *= high;
          out[n][3] *= high;
        }
      }

      const float decayed = powers[m];
#pragma unroll
      for (int mt = 0; mt < ROW_TILES; mt++) {
#pragma unroll
        for (int nt = 0; nt < COLUMN_TILES; nt++) {
#pragma unroll
          for (int u = 0; u < 4; u++) {
            state[mt][nt][u] *= decayed;
          }
        }
      }
#pragma unroll
      for (int s = 0; s < 4; s++) {
        unsigned cv[COLUMN_TILES / 2][4];
#pragma unroll
        for (int n = 0; n < COLUMN_TILES / 2; n++) {
          ldmatrix_transposed(cv[n], ((addressC + offset) ^ (n << 5)) + s * 16 * COLUMN_BYTES);
        }
        if (outputs && (s < 2 || i >= 2)) {
#pragma unroll
          for (int n = 0; n < COLUMN_TILES / 2; n++) {
            mma(out[2 * n], scores[s], cv[n][0], cv[n][1]);
            mma(out[2 * n + 1], scores[s], cv[n][2], cv[n][3]);
          }
        }
        // λ^(m - s - e) of the lane's four tokens.
        float w[4];
#pragma unroll
        for (int u = 0; u < 4; u++) {
          const int left = m - e - (16 * s + 2 * q + u / 2 * 8 + u % 2);
          w[u] = left >= 1 - e ? powers[max(left, 0)] : 0.0f;
        }
#pragma unroll
        for (int mt = 0; mt < ROW_TILES; mt++) {
          unsigned bv[4];
          ldmatrix_transposed(bv, ((addressBt + offset) ^ (mt << 5)) + s * 16 * KEY_BYTES);
#pragma unroll
          for (int u = 0; u < 4; u++) {
            bv[u] = to_bf16_pair(__uint_as_float(bv[u] << 16) * w[u / 2 * 2],
                                 __uint_as_float(bv[u] & 0xffff0000u) * w[u / 2 * 2 + 1]);
          }
#pragma unroll
          for (int n = 0; n < COLUMN_TILES / 2; n++) {
            mma(state[mt][2 * n], bv, cv[n][0], cv[n][1]);
            mma(state[mt][2 * n + 1], bv, cv[n][2], cv[n][3]);
          }
        }
      }

      if (outputs) {
        // Through shared memory, so that lanes write 16 bytes; f'(x) lies in the same place.
        __syncwarp();
#pragma unroll
        for (int n = 0; n < COLUMN_TILES; n++) {
#pragma unroll
          for (int u = 0; u < 2; u++) {
            unsigned* at = reinterpret_cast<unsigned*>(
                memory + OUTPUT + swizzled<COLUMN_BYTES>(16 * i + g + 8 * u, column / 8 + n) + 4 * q);
            float left = out[n][2 * u];
            float right = out[n][2 * u + 1];
            if (x.f != act::IDENTITY) {
              left *= __uint_as_float(*at << 16);
              right *= __uint_as_float(*at & 0xffff0000u);
            }
            *at = to_bf16_pair(left, right);
          }
        }
        __syncwarp();
#pragma unroll
        for (int t = 16 * i + lane / PIECES; t < 16 * i + 16; t += 32 / PIECES) {
          if (t < m && 8 * ownPiece < width) {
            const long long row = item.row(base + t);
            Pack<bf16> result = *reinterpret_cast<const Pack<bf16>*>(memory + OUTPUT +
                                                                     swizzled<COLUMN_BYTES>(t, ownPiece));
            if ((flags & MASK_Y) && mask != nullptr && mask[row] == 0) {
              result.raw = make_uint4(0, 0, 0, 0);
            }
            store(y.p + row * y.token + h * y.head + first + 8 * ownPiece, result);
          }
        }
        if (base + CHUNK < item.end) {
          copyX(base + CHUNK);
        }
      }
      __syncthreads();
      if (STAGES == 1 && base + CHUNK < item.end) {
        copies(0, base + CHUNK);
      }
      stage = STAGES > 1 ? 1 - stage : 0;
    }

    float* to = !outputs ? total
                : cut || last == nullptr || slot < 0 ? nullptr : last + ((long long)slot * heads + h) * matrix;
    if (to != nullptr) {
#pragma unroll
      for (int mt = 0; mt < ROW_TILES; mt++) {
#pragma unroll
        for (int nt = 0; nt < COLUMN_TILES; nt++) {
#pragma unroll
          for (int u = 0; u < 4; u++) {
            const int k = i * (KEYS / 4) + 16 * mt + g + u / 2 * 8;
            const int j = first + column + 8 * nt + 2 * q + u % 2;
            if (k < keys && j < values) {
              to[(long long)k * values + j] = state[mt][nt][u];
            }
          }
        }
      }
    }
  }
};

}  // namespace

/** See TensorSweep. Grid items · H · ⌈V/COLUMNS⌉. */
#define TENSOR_SWEEP(NAME, ...)                                                                                       \
  extern "C" __global__ void __launch_bounds__(TensorSweep<__VA_ARGS__>::THREADS, 1)                                   \
      NAME(const bf16* a, long long aToken, long long aHead, int fa, const bf16* b, long long bToken,                 \
           long long bHead, int fb, const bf16* c, long long cToken, long long cHead, int fc, bf16* y,                \
           long long yToken, long long yHead, const bf16* x, long long xToken, long long xHead, int fx,               \
           const float* rates, const int* offsets, const int* slots, const int* mask, const float* initial,           \
           float* last, float* totals, int count, int heads, int keys, int values, int segment, int flags) {          \
    TensorSweep<__VA_ARGS__>::run({a, aToken, aHead, fa}, {b, bToken, bHead, fb}, {c, cToken, cHead, fc},             \
                                  {y, yToken, yHead, act::IDENTITY}, {x, xToken, xHead, fx}, rates, offsets, slots,   \
                                  mask, initial, last, totals, count, heads, keys, values, segment, flags);           \
  }

TENSOR_SWEEP(lightning_tensor_64x64, 64, 64, 1, 2)
TENSOR_SWEEP(lightning_tensor_128x128, 128, 64, 2, 2)
TENSOR_SWEEP(lightning_tensor_128x64, 128, 64, 1, 1)
TENSOR_SWEEP(lightning_tensor_256x64, 256, 32, 2, 1)

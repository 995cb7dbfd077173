// A GLA layer's first kernel of decoding, one or two sequences of one token each: the projection to q, k, v and u by
// linear_few.cuh, then, in the same blocks, the recurrence's step. SPEC sections 3.3.6 and 4.1.1.
//
//   [q|k|v|u] = SRMSNorm(x) W_qkvuᵀ + b      S ← λ S + ψ(k) vᵀ      o = Sᵀ ψ(q)      ψ = φ, or LRPE after φ
//
// A head's q, k and v come from several blocks, so all wait for each other in between: they are no more than there are
// multiprocessors, each on one of its own. Alone, the step would cost a start, an end and the states' way from memory; here
// states come beside the weights, into shared memory, and the next kernel's weights are under way while blocks wait.
//
// The step is cut into tiles of 16 columns of one head's state, 128 rows at a time: 4 threads a row, four columns each. A
// column of o is summed by a thread over every 128th row, then over the lanes by a tree, then over the warps in order.
// Bytes: the projection's, and of states 8 K V a head and token. Bits depend on shapes and on the number of blocks.
#include "linear_few.cuh"

namespace {

/** Columns of the state of a tile, and threads that have a row of it. */
constexpr int COLUMNS = 16;
constexpr int ROW_THREADS = COLUMNS / 4;
/** Rows of a tile at a time. */
constexpr int ROWS = THREADS / ROW_THREADS;
/** Leaves room on a multiprocessor for a block of the next product. */
constexpr int STEP_REGISTERS = 64;
/** Channels of a head at most; LRPE's are twice the projection's. */
constexpr int CHANNELS = 512;

/** (T, H, width), strides in elements. */
template <class T>
struct Heads {
  T* p;
  long long token;
  long long head;

  DEVICE T* of(long long row, int h) const { return p + row * token + h * head; }
};

/** Four columns of every ROWS-th row, which this thread has, of one head's state of sequence n. */
struct Part {
  int n;
  int h;
  int column;

  DEVICE Part(int tile, int heads, int values) {
    const int tiles = (values + COLUMNS - 1) / COLUMNS;
    n = tile / tiles / heads;
    h = tile / tiles % heads;
    column = tile % tiles * COLUMNS + threadIdx.x % ROW_THREADS * 4;
  }

  static DEVICE int row(int pass) { return pass * ROWS + threadIdx.x / ROW_THREADS; }
};

/** States before and after, (slots, H, K, V); either may be null. A block's first tile is fetched beside the weights. */
struct States {
  const float* initial;
  float* last;
  const int* slots;
  /** ⌈K / ROWS⌉ · THREADS places in shared memory. */
  uint4* places;
  int heads;
  int keys;
  int values;
  int tiles;
  /** Slot of the first tile, below 0 where nothing is fetched. */
  int slot = -1;

  DEVICE long long at(int slot, const Part& part, int row) const {
    return (((long long)slot * heads + part.h) * keys + row) * values + part.column;
  }

  DEVICE void begin() {
    if (blockIdx.x < tiles && initial != nullptr && aligned16(initial) && values % 4 == 0) {
      slot = slots[Part(blockIdx.x, heads, values).n];
    }
  }

  DEVICE void fetch() {
    const Part part(blockIdx.x, heads, values);
    if (slot >= 0 && part.column < values) {
      for (int pass = 0; Part::row(pass) < keys; pass++) {
        copy16(shared_address(places + pass * THREADS + threadIdx.x), initial + at(slot, part, Part::row(pass)), true);
      }
    }
  }

  /** What this thread has of a row before the step. */
  DEVICE Pack<float> before(int tile, int slot, const Part& part, int pass) const {
    if (tile == blockIdx.x && this->slot >= 0) {
      return {places[pass * THREADS + threadIdx.x]};
    }
    const bool none = initial == nullptr || slot < 0;
    return load_some(none ? nullptr : initial + at(slot, part, Part::row(pass)), none ? 0 : values - part.column);
  }
};

/** Of the blocks that wait for each other: as arrive_at_grid() takes it. */
__device__ unsigned arrivals;

/** The step of all tiles of this block, once the projection is there. */
template <class T>
DEVICE void step(const States& states, Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<T> o,
                 const float* theta, const int* positions, const float* rates, const int* mask, int channels, int f) {
  __shared__ float qs[CHANNELS];
  __shared__ float ks[CHANNELS];
  __shared__ float sums[WARPS][COLUMNS];
  const int tid = threadIdx.x;
  const int values = states.values;
  __syncthreads();
  const unsigned ticket = tid == 0 ? arrive_at_grid(&arrivals) : 0;
  for (int tile = blockIdx.x; tile < states.tiles; tile += gridDim.x) {
    const Part part(tile, states.heads, values);
    const int row = part.n;
    const int slot = states.slots[part.n];
    const bool counts = mask == nullptr || mask[row] != 0;
    // exp and sine are formed while the other blocks are still on their way.
    const double lambda = exp(-(double)rates[part.h]);
    const float high = (float)lambda;
    const float low = (float)(lambda - (double)high);
    float cosine = 1.0f;
    float sine = 0.0f;
    if (theta != nullptr && tid < channels) {
      cos_sin(quarter_turns(theta[part.h * channels + tid]), positions[row], cosine, sine);
    }
    if (tile == blockIdx.x) {
      if (tid == 0) {
        await_grid(&arrivals, ticket);
      }
      __syncthreads();
    }
    if (tid < channels) {
      const float qv = activation(f, to_float(q.of(row, part.h)[tid]));
      const float kv = activation(f, to_float(k.of(row, part.h)[tid]));
      if (theta != nullptr) {
        qs[channels + tid] = qv * sine;
        ks[channels + tid] = kv * sine;
      }
      qs[tid] = theta == nullptr ? qv : qv * cosine;
      ks[tid] = theta == nullptr ? kv : kv * cosine;
    }
    float vs[4];
#pragma unroll
    for (int u = 0; u < 4; u++) {
      vs[u] = counts && part.column + u < values ? to_float(v.of(row, part.h)[part.column + u]) : 0.0f;
    }
    __syncthreads();
    float sum[4] = {};
    for (int pass = 0; Part::row(pass) < states.keys; pass++) {
      const int key = Part::row(pass);
      float s[4];
      unpack(states.before(tile, slot, part, pass), s);
#pragma unroll
      for (int u = 0; u < 4; u++) {
        s[u] = fmaf(s[u], high, fmaf(s[u], low, ks[key] * vs[u]));
        sum[u] = fmaf(s[u], qs[key], sum[u]);
      }
      if (states.last != nullptr && slot >= 0) {
        store_some(states.last + states.at(slot, part, key), values - part.column, pack(s));
      }
    }
#pragma unroll
    for (int u = 0; u < 4; u++) {
#pragma unroll
      for (int lanes = ROW_THREADS; lanes < 32; lanes *= 2) {
        sum[u] += __shfl_xor_sync(ALL_LANES, sum[u], lanes);
      }
      if (tid % 32 < ROW_THREADS) {
        sums[tid / 32][tid % 32 * 4 + u] = sum[u];
      }
    }
    __syncthreads();
    const int first = part.column - tid % ROW_THREADS * 4;
    if (tid < COLUMNS && first + tid < values) {
      float total = 0.0f;
#pragma unroll
      for (int w = 0; w < WARPS; w++) {
        total += sums[w][tid];
      }
      o.of(row, part.h)[first + tid] = from_float<T>(total);
    }
    __syncthreads();
  }
}

}  // namespace

/**
 * Arguments of linear_few.cuh, x a norm and staged, then those of the step: q, k, v among y; theta (H, channels) null without
 * LRPE. Grid at most one block to a multiprocessor. Dynamic shared memory: that of few(), then ⌈K / 128⌉ · 512 · 16 bytes.
 */
#define GLA_STEP(NAME, T, TOKENS)                                                                                       \
  extern "C" __global__ void __maxnreg__(STEP_REGISTERS)                                                                \
      NAME(int input, const T* x, long long x_stride, const T* gate, long long gate_stride, double inverse_width,       \
           double epsilon, int group, const T* w, long long w_stride, const float* bias, const T* residual,             \
           long long residual_stride, T* y, long long y_stride, long long columns, long long outputs, int most_rows,    \
           int staged, const T* q, long long q_token, long long q_head, const T* k, long long k_token,                  \
           long long k_head, const T* v, long long v_token, long long v_head, T* o, long long o_token,                  \
           long long o_head, const float* theta, const int* positions, const float* rates, const int* slots,            \
           const int* mask, const float* initial, float* last, int heads, int channels,                                 \
           int values, int f) {                                                                                         \
    extern __shared__ uint4 shared[];                                                                                   \
    States states{initial, last, slots, few_x<TOKENS>(shared, most_rows) + TOKENS * few_pieces<T>(columns), heads,      \
                  theta == nullptr ? channels : 2 * channels, values,                                                   \
                  TOKENS * heads * ((values + COLUMNS - 1) / COLUMNS)};                                                 \
    few<T, TOKENS>(states, (Input)input, x, x_stride, gate, gate_stride, inverse_width, epsilon, group, w, w_stride,    \
                   bias, residual, residual_stride, y, y_stride, columns, outputs, most_rows, staged);                  \
    wait_copies();                                                                                                      \
    step<T>(states, {q, q_token, q_head}, {k, k_token, k_head}, {v, v_token, v_head}, {o, o_token, o_head},             \
            theta, positions, rates, mask, channels, f);                                                                \
  }
GLA_STEP(gla_step_f32_1, float, 1)
GLA_STEP(gla_step_f32_2, float, 2)
GLA_STEP(gla_step_bf16_1, bf16, 1)
GLA_STEP(gla_step_bf16_2, bf16, 2)

// SRMSNorm, RMSNorm and LayerNorm, forward and backward, in one pass each or in two phases with a sum over ranks
// between them. SPEC section 3.1.
//
// x, y, dy, dx, gate, dgate, residual: (rows, columns) of T with any row stride; weight, bias: (columns) F32;
// statistics, sums: (rows, 1) F32, LayerNorm (rows, 2) F64, with any row stride. Null: no gate, no residual.
//
// A group of blockDim.x threads takes a row, a thread two pieces of 16 bytes of it that neighbours share out (piece k of
// thread i is piece k * blockDim.x + i), all loaded before the first is used; blockDim.y rows to a block. forward and
// backward hold the whole row: columns <= 32 / sizeof(T) * blockDim.x, 8192 BF16, 4096 F32; partial and backward_partial
// go along the row; apply and backward_apply cut it into gridDim.y pieces.
//
// Bytes: forward 2 tensors (3 with a gate); backward 3, 4 with a residual, 2 more with a gate. About 10 and 20 FLOP an
// element: memory sets the time. Sums: F32 (LayerNorm: F64), per thread, then in the tree of the warp, then of the
// group's warps; those of a partial pass have the order of the pass that holds the row, so both give the same bits.
// Parameter gradients: block b sums rows b * blockDim.y + y, then those gridDim.x * blockDim.y further on, and so on,
// in F32 and in order, into one row of `partial`; columnsums.cuh joins them. Nothing depends on timing.
#pragma once
#include "columnsums.cuh"

enum NormKind { SRMS, RMS, LAYER };

constexpr int PIECES = 2;
constexpr int MAX_GROUP = 512;

/** Of a row, those of one thread. */
template <class T>
constexpr int ELEMENTS = PIECES * LANES<T>;

template <NormKind KIND>
struct NormTypes {
  using Sum = float;
  static constexpr int SUMS = 1;
  /** Independent partial sums of a thread. */
  static constexpr int CHAINS = 4;
};

template <>
struct NormTypes<LAYER> {
  using Sum = double;
  static constexpr int SUMS = 2;
  static constexpr int CHAINS = 2;
};

/** A matrix of T: null where there is none. */
template <class T>
struct Matrix {
  T* first;
  long long stride;

  DEVICE T* at(long long row, long long column) const { return first + row * stride + column; }
};

/** Sums over the group of threads that has a row, the same bits in all of them. Every thread of the block calls it. */
template <int N, class S>
DEVICE void group_sum(S (&x)[N]) {
  __shared__ S scratch[N][32];
  const int warps = blockDim.x / 32;
#pragma unroll
  for (int i = 0; i < N; i++) {
    x[i] = warp_sum(x[i]);
  }
  if (warps > 1) {
    const int lane = threadIdx.x % 32;
    const int first = threadIdx.y * warps;
    if (lane == 0) {
#pragma unroll
      for (int i = 0; i < N; i++) {
        scratch[i][first + threadIdx.x / 32] = x[i];
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; i++) {
      x[i] = warp_sum(lane < warps ? scratch[i][first + lane] : S(0));
    }
    __syncthreads();
  }
}

/** Adds up what the threads' chains hold. */
template <int N, int CHAINS, class S>
DEVICE void join(const S (&chains)[N][CHAINS], S (&sums)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) {
    if constexpr (CHAINS == 4) {
      sums[i] = (chains[i][0] + chains[i][1]) + (chains[i][2] + chains[i][3]);
    } else {
      sums[i] = chains[i][0] + chains[i][1];
    }
  }
  group_sum(sums);
}

/** What a row's statistics say of it. */
template <NormKind KIND>
struct RowNorm {
  float r;
  float mean;
  float mean_rest;

  template <class S>
  DEVICE RowNorm(const S (&statistics)[NormTypes<KIND>::SUMS], double inverse_width, double epsilon) {
    mean = 0.0f;
    mean_rest = 0.0f;
    if constexpr (KIND == LAYER) {
      const double mu = statistics[0] * inverse_width;
      mean = (float)mu;
      mean_rest = (float)(mu - mean);
      const double square = fma(-mu, mu, statistics[1] * inverse_width);
      // rounding can make it negative; NaN stays
      r = (float)rsqrt((square < 0.0 ? 0.0 : square) + epsilon);
    } else {
      r = (float)rsqrt(fma((double)statistics[0], inverse_width, epsilon));
    }
  }

  DEVICE float normalised(float x) const { return KIND == LAYER ? ((x - mean) - mean_rest) * r : x * r; }
};

template <NormKind KIND>
DEVICE float weighted(float x_hat, float weight, float bias) {
  return KIND == SRMS ? x_hat : KIND == RMS ? weight * x_hat : fmaf(x_hat, weight, bias);
}

/** `count` of N floats from p on, the others 0. */
template <int N>
DEVICE void load_floats(const float* p, long long count, float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; i += 4) {
    float piece[4];
    unpack(load_some(p + i, count - i), piece);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      x[i + j] = piece[j];
    }
  }
}

template <NormKind KIND, class T>
DEVICE void load_parameters(const float* weight, const float* bias, long long column, long long count,
                            float (&w)[LANES<T>], float (&b)[LANES<T>]) {
  if constexpr (KIND != SRMS) {
    load_floats(weight + column, count, w);
  }
  if constexpr (KIND == LAYER) {
    load_floats(bias + column, count, b);
  }
}

/** The column that piece k of this thread begins at. */
template <class T>
DEVICE long long column_of(long long first, int k) {
  return first + ((long long)k * blockDim.x + threadIdx.x) * LANES<T>;
}

/** Loads this thread's pieces of a row; elements that are not there are 0. */
template <class T>
DEVICE void load_row(Matrix<const T> m, long long row, bool there, long long first, long long columns,
                     Pack<T> (&pieces)[PIECES]) {
#pragma unroll
  for (int k = 0; k < PIECES; k++) {
    const long long column = column_of<T>(first, k);
    pieces[k] = load_some(m.at(row, column), there ? columns - column : 0);
  }
}

/** Adds a piece of x to the statistics. */
template <NormKind KIND, int LANES_OF_T, class S, int SUMS, int CHAINS>
DEVICE void add_statistics(const float (&x)[LANES_OF_T], S (&chains)[SUMS][CHAINS]) {
#pragma unroll
  for (int i = 0; i < LANES_OF_T; i++) {
    const S v = x[i];
    if constexpr (KIND == LAYER) {
      chains[0][i % CHAINS] += v;
      chains[1][i % CHAINS] = fma(v, v, chains[1][i % CHAINS]);
    } else {
      chains[0][i % CHAINS] = fmaf(v, v, chains[0][i % CHAINS]);
    }
  }
}

/** Adds a piece of h and x̂ to the sums that the gradient needs. */
template <NormKind KIND, int LANES_OF_T, class S, int SUMS, int CHAINS>
DEVICE void add_sums(const float (&h)[LANES_OF_T], const float (&x_hat)[LANES_OF_T], S (&chains)[SUMS][CHAINS]) {
#pragma unroll
  for (int i = 0; i < LANES_OF_T; i++) {
    if constexpr (KIND == LAYER) {
      chains[0][i % CHAINS] += (S)h[i];
      chains[1][i % CHAINS] = fma((S)h[i], (S)x_hat[i], chains[1][i % CHAINS]);
    } else {
      chains[0][i % CHAINS] = fmaf(h[i], x_hat[i], chains[0][i % CHAINS]);
    }
  }
}

template <NormKind KIND, class S>
DEVICE void read_sums(const S* from, long long stride, long long row, bool there,
                      S (&sums)[NormTypes<KIND>::SUMS]) {
#pragma unroll
  for (int i = 0; i < NormTypes<KIND>::SUMS; i++) {
    sums[i] = there ? from[row * stride + i] : S(0);
  }
}

template <NormKind KIND, class S>
DEVICE void write_sums(S* to, long long stride, long long row, bool there, const S (&sums)[NormTypes<KIND>::SUMS]) {
  if (threadIdx.x == 0 && there) {
#pragma unroll
    for (int i = 0; i < NormTypes<KIND>::SUMS; i++) {
      to[row * stride + i] = sums[i];
    }
  }
}

/** Statistics of rows of any width. */
template <NormKind KIND, class T, class S>
DEVICE void norm_partial(Matrix<const T> x, S* statistics, long long statistics_stride, long long rows,
                         long long columns) {
  using Types = NormTypes<KIND>;
  const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  const bool there = row < rows;
  S chains[Types::SUMS][Types::CHAINS] = {};
  for (long long first = 0; first < columns; first += ELEMENTS<T> * blockDim.x) {
    Pack<T> pieces[PIECES];
    load_row(x, row, there, first, columns, pieces);
#pragma unroll
    for (int k = 0; k < PIECES; k++) {
      float v[LANES<T>];
      unpack(pieces[k], v);
      add_statistics<KIND>(v, chains);
    }
  }
  S sums[Types::SUMS];
  join(chains, sums);
  write_sums<KIND>(statistics, statistics_stride, row, there, sums);
}

/** y of this thread's pieces. */
template <NormKind KIND, class T>
DEVICE void write_normalised(const Pack<T> (&pieces)[PIECES], const Pack<T> (&gates)[PIECES], bool gated,
                             RowNorm<KIND> norm, const float* weight, const float* bias, Matrix<T> y, long long row,
                             bool there, long long first, long long columns) {
#pragma unroll
  for (int k = 0; k < PIECES; k++) {
    const long long column = column_of<T>(first, k);
    const long long count = there ? columns - column : 0;
    float v[LANES<T>], u[LANES<T>], w[LANES<T>], b[LANES<T>];
    unpack(pieces[k], v);
    unpack(gates[k], u);
    load_parameters<KIND, T>(weight, bias, column, count, w, b);
#pragma unroll
    for (int i = 0; i < LANES<T>; i++) {
      v[i] = weighted<KIND>(norm.normalised(v[i]), w[i], b[i]);
      v[i] = gated ? u[i] * v[i] : v[i];
    }
    store_some(y.at(row, column), count, pack(v));
  }
}

/** Statistics and y at once: the row is read once. */
template <NormKind KIND, class T, class S>
DEVICE void norm_forward(Matrix<const T> x, S* statistics, long long statistics_stride, double inverse_width,
                         double epsilon, const float* weight, const float* bias, Matrix<const T> gate, Matrix<T> y,
                         long long rows, long long columns) {
  using Types = NormTypes<KIND>;
  const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  const bool there = row < rows;
  const bool gated = gate.first != nullptr;
  release_successor();
  await_predecessor();
  Pack<T> pieces[PIECES], gates[PIECES] = {};
  load_row(x, row, there, 0, columns, pieces);
  if (gated) {
    load_row(gate, row, there, 0, columns, gates);
  }
  S chains[Types::SUMS][Types::CHAINS] = {};
#pragma unroll
  for (int k = 0; k < PIECES; k++) {
    float v[LANES<T>];
    unpack(pieces[k], v);
    add_statistics<KIND>(v, chains);
  }
  S sums[Types::SUMS];
  join(chains, sums);
  write_sums<KIND>(statistics, statistics_stride, row, there, sums);
  const RowNorm<KIND> norm(sums, inverse_width, epsilon);
  write_normalised<KIND, T>(pieces, gates, gated, norm, weight, bias, y, row, there, 0, columns);
}

/** y from statistics. */
template <NormKind KIND, class T, class S>
DEVICE void norm_apply(Matrix<const T> x, const S* statistics, long long statistics_stride, double inverse_width,
                       double epsilon, const float* weight, const float* bias, Matrix<const T> gate, Matrix<T> y,
                       long long rows, long long columns) {
  const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  const bool there = row < rows;
  const bool gated = gate.first != nullptr;
  const long long first = (long long)blockIdx.y * blockDim.x * ELEMENTS<T>;
  Pack<T> pieces[PIECES], gates[PIECES] = {};
  load_row(x, row, there, first, columns, pieces);
  if (gated) {
    load_row(gate, row, there, first, columns, gates);
  }
  S sums[NormTypes<KIND>::SUMS];
  read_sums<KIND>(statistics, statistics_stride, row, there, sums);
  const RowNorm<KIND> norm(sums, inverse_width, epsilon);
  write_normalised<KIND, T>(pieces, gates, gated, norm, weight, bias, y, row, there, first, columns);
}

/** Pieces as the gradient sees them: x̂, and h = w u dy; g = u dy too. */
template <NormKind KIND, int N>
DEVICE void differentiate(float (&x)[N], const float (&dy)[N], const float (&u)[N], bool gated,
                          const RowNorm<KIND>& norm, const float (&w)[N], float (&g)[N], float (&h)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) {
    x[i] = norm.normalised(x[i]);
    g[i] = gated ? u[i] * dy[i] : dy[i];
    h[i] = KIND == SRMS ? g[i] : w[i] * g[i];
  }
}

/** The sums that dx needs, of rows of any width. */
template <NormKind KIND, class T, class S>
DEVICE void norm_backward_partial(Matrix<const T> x, const S* statistics, long long statistics_stride,
                                  double inverse_width, double epsilon, const float* weight, const float* bias,
                                  Matrix<const T> gate, Matrix<const T> dy, S* sums, long long sums_stride,
                                  long long rows, long long columns) {
  using Types = NormTypes<KIND>;
  const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
  const bool there = row < rows;
  const bool gated = gate.first != nullptr;
  S total[Types::SUMS];
  read_sums<KIND>(statistics, statistics_stride, row, there, total);
  const RowNorm<KIND> norm(total, inverse_width, epsilon);
  S chains[Types::SUMS][Types::CHAINS] = {};
  for (long long first = 0; first < columns; first += ELEMENTS<T> * blockDim.x) {
    Pack<T> xs[PIECES], dys[PIECES], gates[PIECES] = {};
    load_row(x, row, there, first, columns, xs);
    load_row(dy, row, there, first, columns, dys);
    if (gated) {
      load_row(gate, row, there, first, columns, gates);
    }
#pragma unroll
    for (int k = 0; k < PIECES; k++) {
      const long long column = column_of<T>(first, k);
      float v[LANES<T>], d[LANES<T>], u[LANES<T>], w[LANES<T>], b[LANES<T>], g[LANES<T>], h[LANES<T>];
      unpack(xs[k], v);
      unpack(dys[k], d);
      unpack(gates[k], u);
      load_parameters<KIND, T>(weight, bias, column, columns - column, w, b);
      differentiate<KIND>(v, d, u, gated, norm, w, g, h);
      add_sums<KIND>(h, v, chains);
    }
  }
  join(chains, total);
  write_sums<KIND>(sums, sums_stride, row, there, total);
}

/**
 * dx, dgate and partial sums of parameter gradients. WHOLE: the sums are made here, from the row that is held; otherwise
 * they are read. `partial` holds gridDim.x * blockDim.y rows of columns for the weight, and as many for the bias.
 */
template <NormKind KIND, bool WHOLE, class T, class S>
DEVICE void norm_backward(Matrix<const T> x, const S* statistics, long long statistics_stride, const S* sums,
                          long long sums_stride, double inverse_width, double epsilon, const float* weight,
                          const float* bias, Matrix<const T> gate, Matrix<const T> dy, Matrix<const T> residual,
                          Matrix<T> dx, Matrix<T> dgate, float* partial, long long rows, long long columns) {
  using Types = NormTypes<KIND>;
  const bool gated = gate.first != nullptr;
  const long long first = WHOLE ? 0 : (long long)blockIdx.y * blockDim.x * ELEMENTS<T>;
  const long long parts = (long long)gridDim.x * blockDim.y;
  float dweight[KIND == SRMS ? 1 : ELEMENTS<T>] = {}, dbias[KIND == LAYER ? ELEMENTS<T> : 1] = {};
  for (long long base = (long long)blockIdx.x * blockDim.y; base < rows; base += parts) {
    const long long row = base + threadIdx.y;
    const bool there = row < rows;
    Pack<T> xs[PIECES], dys[PIECES], gates[PIECES] = {}, rests[PIECES] = {};
    load_row(x, row, there, first, columns, xs);
    load_row(dy, row, there, first, columns, dys);
    if (gated) {
      load_row(gate, row, there, first, columns, gates);
    }
    if (residual.first != nullptr) {
      load_row(residual, row, there, first, columns, rests);
    }
    S total[Types::SUMS];
    read_sums<KIND>(statistics, statistics_stride, row, there, total);
    const RowNorm<KIND> norm(total, inverse_width, epsilon);
    if constexpr (WHOLE) {
      S chains[Types::SUMS][Types::CHAINS] = {};
#pragma unroll
      for (int k = 0; k < PIECES; k++) {
        const long long column = column_of<T>(first, k);
        float v[LANES<T>], d[LANES<T>], u[LANES<T>], w[LANES<T>], b[LANES<T>], g[LANES<T>], h[LANES<T>];
        unpack(xs[k], v);
        unpack(dys[k], d);
        unpack(gates[k], u);
        load_parameters<KIND, T>(weight, bias, column, columns - column, w, b);
        differentiate<KIND>(v, d, u, gated, norm, w, g, h);
        add_sums<KIND>(h, v, chains);
      }
      join(chains, total);
    } else {
      read_sums<KIND>(sums, sums_stride, row, there, total);
    }
    // along x̂, and along ones
    const float slope = (float)(norm.r * (total[Types::SUMS - 1] * inverse_width));
    const float level = KIND == LAYER ? (float)(norm.r * (total[0] * inverse_width)) : 0.0f;
#pragma unroll
    for (int k = 0; k < PIECES; k++) {
      const long long column = column_of<T>(first, k);
      const long long count = there ? columns - column : 0;
      float v[LANES<T>], d[LANES<T>], u[LANES<T>], w[LANES<T>], b[LANES<T>], g[LANES<T>], h[LANES<T>];
      float rest[LANES<T>];
      unpack(xs[k], v);
      unpack(dys[k], d);
      unpack(gates[k], u);
      unpack(rests[k], rest);
      load_parameters<KIND, T>(weight, bias, column, count, w, b);
      differentiate<KIND>(v, d, u, gated, norm, w, g, h);
#pragma unroll
      for (int i = 0; i < LANES<T>; i++) {
        if constexpr (KIND != SRMS) {
          dweight[k * LANES<T> + i] = fmaf(v[i], g[i], dweight[k * LANES<T> + i]);
        }
        if constexpr (KIND == LAYER) {
          dbias[k * LANES<T> + i] += g[i];
        }
        d[i] = weighted<KIND>(v[i], w[i], b[i]) * d[i];
        v[i] = fmaf(v[i], -slope, fmaf(h[i], norm.r, KIND == LAYER ? rest[i] - level : rest[i]));
      }
      store_some(dx.at(row, column), count, pack(v));
      if (gated) {
        store_some(dgate.at(row, column), count, pack(d));
      }
    }
  }
  if constexpr (KIND != SRMS) {
    const long long part = (long long)blockIdx.x * blockDim.y + threadIdx.y;
#pragma unroll
    for (int k = 0; k < PIECES; k++) {
#pragma unroll
      for (int i = 0; i < LANES<T>; i++) {
        const long long column = column_of<T>(first, k) + i;
        if (column < columns) {
          partial[part * columns + column] = dweight[k * LANES<T> + i];
          if constexpr (KIND == LAYER) {
            partial[(parts + part) * columns + column] = dbias[k * LANES<T> + i];
          }
        }
      }
    }
  }
}

/** All kernels of one norm and one type. */
#define NORM_KERNELS(NAME, KIND, SUFFIX, T, S)                                                                         \
  extern "C" __global__ void __launch_bounds__(MAX_GROUP)                                                              \
      NAME##_partial_##SUFFIX(const T* x, long long x_stride, S* statistics, long long statistics_stride,              \
                              long long rows, long long columns) {                                                     \
    norm_partial<KIND, T, S>({x, x_stride}, statistics, statistics_stride, rows, columns);                             \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(MAX_GROUP)                                                              \
      NAME##_forward_##SUFFIX(const T* x, long long x_stride, S* statistics, long long statistics_stride,              \
                              double inverse_width, double epsilon, const float* weight, const float* bias,            \
                              const T* gate, long long gate_stride, T* y, long long y_stride, long long rows,          \
                              long long columns) {                                                                     \
    norm_forward<KIND, T, S>({x, x_stride}, statistics, statistics_stride, inverse_width, epsilon, weight, bias,       \
                             {gate, gate_stride}, {y, y_stride}, rows, columns);                                       \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(MAX_GROUP)                                                              \
      NAME##_apply_##SUFFIX(const T* x, long long x_stride, const S* statistics, long long statistics_stride,          \
                            double inverse_width, double epsilon, const float* weight, const float* bias,              \
                            const T* gate, long long gate_stride, T* y, long long y_stride, long long rows,            \
                            long long columns) {                                                                       \
    norm_apply<KIND, T, S>({x, x_stride}, statistics, statistics_stride, inverse_width, epsilon, weight, bias,         \
                           {gate, gate_stride}, {y, y_stride}, rows, columns);                                         \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(MAX_GROUP)                                                              \
      NAME##_backward_partial_##SUFFIX(const T* x, long long x_stride, const S* statistics,                            \
                                       long long statistics_stride, double inverse_width, double epsilon,              \
                                       const float* weight, const float* bias, const T* gate, long long gate_stride,   \
                                       const T* dy, long long dy_stride, S* sums, long long sums_stride,               \
                                       long long rows, long long columns) {                                            \
    norm_backward_partial<KIND, T, S>({x, x_stride}, statistics, statistics_stride, inverse_width, epsilon, weight,    \
                                      bias, {gate, gate_stride}, {dy, dy_stride}, sums, sums_stride, rows, columns);   \
  }                                                                                                                    \
  NORM_BACKWARD(NAME##_backward_##SUFFIX, KIND, true, T, S)                                                            \
  NORM_BACKWARD(NAME##_backward_apply_##SUFFIX, KIND, false, T, S)

#define NORM_BACKWARD(NAME, KIND, WHOLE, T, S)                                                                         \
  extern "C" __global__ void __launch_bounds__(MAX_GROUP)                                                              \
      NAME(const T* x, long long x_stride, const S* statistics, long long statistics_stride, const S* sums,            \
           long long sums_stride, double inverse_width, double epsilon, const float* weight, const float* bias,        \
           const T* gate, long long gate_stride, const T* dy, long long dy_stride, const T* residual,                  \
           long long residual_stride, T* dx, long long dx_stride, T* dgate, long long dgate_stride, float* partial,    \
           long long rows, long long columns) {                                                                        \
    norm_backward<KIND, WHOLE, T, S>({x, x_stride}, statistics, statistics_stride, sums, sums_stride, inverse_width,   \
                                     epsilon, weight, bias, {gate, gate_stride}, {dy, dy_stride},                      \
                                     {residual, residual_stride}, {dx, dx_stride}, {dgate, dgate_stride}, partial,     \
                                     rows, columns);                                                                   \
  }

/** gradient += the partial sums of norm_backward. */
#define NORM_ADD_SUMS(NAME)                                                                                            \
  extern "C" __global__ void __launch_bounds__(COLUMNSUMS_WIDTH* COLUMNSUMS_HEIGHT)                                    \
      NAME##_add_sums(const float* partial, int parts, int columns, float* gradient) {                                 \
    add_column_sums(partial, parts, 1, columns, gradient, 0);                                                          \
  }

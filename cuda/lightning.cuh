// What the sweeps of Lightning Attention share. SPEC section 3.3.6.
//
// Forward and backward are one sweep over the tokens t = 0, 1, … of a sequence, for operands a, b (T, H, K) and c, y
// (T, H, V) and a state X (K, V):
//
//   y_t = Σ_(s≤t) λ^(t-s) (a_t·b_s) c_s + λ^(t+e) X_0ᵀ a_t         X_T = λ^T X_0 + Σ_s λ^(T-s-e) b_s c_sᵀ
//
//   result  order      e   a    b    c    X_0          X_T
//   o       forwards   1   q    k    v    initial      last
//   dq      forwards   1   do   v    k    initialᵀ
//   dk      backwards  0   v    do   q    dlastᵀ
//   dv      backwards  0   k    q    do   dlast        dinitial
//
// Activations are applied to operands as they are read, and dq and dk are multiplied with the derivative as they are
// written, so that q and k are the projection's own; masked rows of v are read as zeros.
//
// Work: an item is a segment of a sequence, a whole one unless T is cut; items are numbered so that grid and numbers
// follow from the tokens and sequences of a call alone: sequence n has the items from offset_n / segment + n on, and
// items past its end have nothing to do. A cut sweep runs three times: totals of the segments from zero states, a scan
// over them, outputs. Every sum has one order, set by shapes: same input, same bits.
#pragma once
#include "common.cuh"

/** Tokens that are worked on together. */
constexpr int CHUNK = 64;
/** What is asked of a sweep, or'ed. */
enum : int {
  MIRRORED = 1,
  TRANSPOSED_INITIAL = 2,
  MASK_A = 4,
  MASK_B = 8,
  MASK_C = 16,
  MASK_Y = 32,
  SKIP_SINGLE_TOKENS = 64,
  TOTALS = 128,
  NEED_LAST = 256
};

/** No cut of T. */
constexpr int WHOLE = 0x7fffffff;

/** (T, H, width) with strides in elements; f is applied to what is read. */
template <class T>
struct Operand {
  T* p;
  long long token;
  long long head;
  int f;
};

/** One item: tokens [begin, end) of a sequence, counted in the order of the sweep. */
struct Item {
  int sequence;
  int start;
  int length;
  int begin;
  int end;
  bool mirrored;

  /** Row of the flattened buffer. */
  DEVICE long long row(int t) const { return mirrored ? start + length - 1 - t : start + t; }
};

/** False if there is nothing to do. */
DEVICE bool find(const int* offsets, int count, int segment, int item, int flags, Item& found) {
  int n = item;
  if (segment != WHOLE) {
    int above = count;
    n = 0;
    while (above - n > 1) {
      const int middle = (n + above) / 2;
      if (offsets[middle] / segment + middle <= item) {
        n = middle;
      } else {
        above = middle;
      }
    }
  }
  const int start = offsets[n];
  const int length = offsets[n + 1] - start;
  const int index = segment == WHOLE ? 0 : item - (start / segment + n);
  const long long begin = (long long)index * segment;
  if (begin >= length || (length == 1 && (flags & SKIP_SINGLE_TOKENS))) {
    return false;
  }
  const long long end = begin + segment;
  found = Item{n, start, length, (int)begin, end < length ? (int)end : length, (flags & MIRRORED) != 0};
  return true;
}

/** e^(-r n) as a sum of two floats. */
DEVICE void decay(float r, int n, float& high, float& low) {
  const double power = exp(-(double)r * n);
  high = (float)power;
  low = (float)(power - (double)high);
}

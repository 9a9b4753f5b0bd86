// Attention of up to four queries of one head over blocks of sixteen positions, those of the paged context, which
// the queries share, and those of their own answers, under one softmax:
//   s_t = <q, k_t>,  p = softmax(s),  out = sum_t p_t v_t      q, out [queries, dp]; keys [d][16];
//                                                              values [16][dp]
// The gradient keeps only log sum exp(s) of the forward pass and recomputes p:
//   dp_t = <dout, v_t>,  ds_t = p_t (dp_t - <dout, out>),  dq = sum_t ds_t k_t
// and for the answer's own blocks dk_t += ds_t q, dv_t += p_t dout. The context is constant.
//
// C is the type of the numbers of the context's blocks. They are widened to float32 when they are read; int8 numbers
// have one scale for each key and each value. A score is one chain over j, an output one chain over the positions in
// their order, so a query's bits depend neither on the other queries nor on how many blocks are taken at once.
// Bound: one query reads each key and value once forward and once backward, so memory bandwidth; from four queries
// on, multiply-adds.
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

constexpr float maskedScore = -1e30f;

// Blocks whose scores are computed at once, so that there are chains enough to hide the latency of an addition.
#if defined(__AVX512F__)
constexpr int scoreBlocks(int) { return 4; }
#elif defined(__AVX2__)
constexpr int scoreBlocks(int queries) { return queries == 1 ? 4 : queries == 2 ? 2 : 1; }
#else
constexpr int scoreBlocks(int queries) { return queries == 1 ? 2 : 1; }
#endif

// Blocks of the context whose keys stay in the second cache between the scores and dq.
constexpr int gradientSpan = 16;

// Some blocks under the softmax, for some of the queries.
struct Part {
  const KeyBlock* blocks;
  int count;
  int first;    // number of the first one among all blocks of a query
  int query;    // the first of the queries
  bool memory;  // whether they come from memory, and are fetched ahead: the prefetcher of the hardware stops at
                // 4 KiB, and pages lie anywhere
};

INLINE int widthOf(const Attention& a) { return (a.contextCount + a.ownCount) * pageSize; }
INLINE float* scoresAt(const Attention& a, int query, int block) {
  return a.scores + (size_t)query * widthOf(a) + block * pageSize;
}

// Lanes of a block that a query attends to.
INLINE int seenLanes(const Attention& a, const KeyBlock& block, int number, int query) {
  const int left = a.limit ? a.limit[query] - number * pageSize : pageSize;
  return left < 0 ? 0 : left < block.count ? left : block.count;
}

template <int N>
struct Number {
  static constexpr int value = N;
};

// Calls context(part) for all queries, then own(part, number of queries): once where the queries share their own
// blocks, else for one query after the other.
template <int Q, class Context, class Own>
INLINE void eachPart(const Attention& a, const Context& context, const Own& own) {
  if (a.contextCount > 0) context(Part{a.context, a.contextCount, 0, 0, true});
  if (a.ownCount == 0) return;
  if (a.ownStride == 0) return own(Part{a.own, a.ownCount, a.contextCount, 0, false}, Number<Q>{});
  for (int i = 0; i < Q; i++) own(Part{a.own + (size_t)i * a.ownStride, a.ownCount, a.contextCount, i, false}, Number<1>{});
}

template <typename C, int Q, int B>
void scoresOfBlocks(const Attention& a, const Part& part, int from) {
  F16 s[B][Q];
  UNROLL for (int b = 0; b < B; b++)
    UNROLL for (int i = 0; i < Q; i++) s[b][i] = zero();
  const KeyBlock* blocks = part.blocks + from;
  const C* keys[B];
  UNROLL for (int b = 0; b < B; b++) keys[b] = (const C*)blocks[b].keys;
  const float* q = a.q + (size_t)part.query * a.dp;
  const auto step = [&](int j) __attribute__((always_inline)) {
    F16 key[B];
    UNROLL for (int b = 0; b < B; b++) key[b] = load(keys[b] + (size_t)j * pageSize);
    UNROLL for (int i = 0; i < Q; i++) {
      const F16 each = set1(q[(size_t)i * a.dp + j]);
      UNROLL for (int b = 0; b < B; b++) s[b][i] = fma(each, key[b], s[b][i]);
    }
  };
  if (part.memory && from + 2 * B <= part.count) {
    const C* next[B];
    UNROLL for (int b = 0; b < B; b++) next[b] = (const C*)blocks[B + b].keys;
    for (int j = 0; j < a.d; j++) {
      UNROLL for (int b = 0; b < B; b++) fetch(next[b] + (size_t)j * pageSize);
      step(j);
    }
  } else {
    for (int j = 0; j < a.d; j++) step(j);
  }
  UNROLL for (int b = 0; b < B; b++)
    UNROLL for (int i = 0; i < Q; i++) {
      if (sizeof(C) == 1) s[b][i] = mul(s[b][i], load(blocks[b].scales));
      const int number = part.first + from + b, seen = seenLanes(a, blocks[b], number, part.query + i);
      if (seen < pageSize) s[b][i] = keep(s[b][i], seen, maskedScore);
      store(scoresAt(a, part.query + i, number), s[b][i]);
    }
}

// Scores of the blocks `from` to `to`; the last ones are fewer than B.
template <typename C, int Q, int B = scoreBlocks(Q)>
void scoresOf(const Attention& a, const Part& part, int from, int to) {
  for (; from + B <= to; from += B) scoresOfBlocks<C, Q, B>(a, part, from);
  if constexpr (B > 1)
    if (from < to) scoresOf<C, Q, B / 2>(a, part, from, to);
}

// out[Q][N vectors from column c] += sum over the positions of p v.
template <typename C, int Q, int N>
void addValuesAt(const Attention& a, const Part& part, int column) {
  F16 sum[Q][N];
  float* out = a.out + (size_t)part.query * a.dp + column;
  UNROLL for (int i = 0; i < Q; i++)
    UNROLL for (int c = 0; c < N; c++) sum[i][c] = load(out + (size_t)i * a.dp + c * lanes);
  for (int b = 0; b < part.count; b++) {
    const int number = part.first + b;
    int most = 0;
    for (int i = 0; i < Q; i++) {
      const int seen = seenLanes(a, part.blocks[b], number, part.query + i);
      most = seen > most ? seen : most;
    }
    const C* values = (const C*)part.blocks[b].values + column;
    if (part.memory && b + 1 < part.count)
      for (int t = 0; t < pageSize; t++)
        for (int c = 0; c < N * lanes; c += 64 / (int)sizeof(C))
          fetch((const C*)part.blocks[b + 1].values + (size_t)t * a.dp + column + c);
    const float* weights = scoresAt(a, part.query, number);
    for (int t = 0; t < most; t++, values += a.dp) {
      F16 value[N];
      UNROLL for (int c = 0; c < N; c++) value[c] = load(values + c * lanes);
      UNROLL for (int i = 0; i < Q; i++) {
        const F16 p = set1(weights[(size_t)i * widthOf(a) + t]);
        UNROLL for (int c = 0; c < N; c++) sum[i][c] = fma(p, value[c], sum[i][c]);
      }
    }
  }
  UNROLL for (int i = 0; i < Q; i++)
    UNROLL for (int c = 0; c < N; c++) store(out + (size_t)i * a.dp + c * lanes, sum[i][c]);
}

template <typename C, int Q>
void addValues(const Attention& a, const Part& part) {
  int column = 0;
  for (; column + 4 * lanes <= a.dp; column += 4 * lanes) addValuesAt<C, Q, 4>(a, part, column);
  for (; column + 2 * lanes <= a.dp; column += 2 * lanes) addValuesAt<C, Q, 2>(a, part, column);
  for (; column < a.dp; column += lanes) addValuesAt<C, Q, 1>(a, part, column);
}

template <typename C, int Q>
void attend(const Attention& a) {
  const int width = widthOf(a), context = a.contextCount * pageSize;
  eachPart<Q>(
      a, [&](const Part& part) { scoresOf<C, Q>(a, part, 0, part.count); },
      [&](const Part& part, auto queries) { scoresOf<float, queries.value>(a, part, 0, part.count); });
  float scale[Q];
  for (int i = 0; i < Q; i++) {
    float* s = scoresAt(a, i, 0);
    F16 top = set1(maskedScore);
    for (int b = 0; b < width; b += pageSize) top = larger(top, load(s + b));
    const float m = largest(top);
    F16 total = zero();
    for (int b = 0; b < width; b += pageSize) {
      F16 e = exp(sub(load(s + b), set1(m)));
      total = add(total, e);
      if (sizeof(C) == 1 && b < context) e = mul(e, load(a.context[b / pageSize].scales + pageSize));
      store(s + b, e);
    }
    const float z = sum(total);
    scale[i] = 1.f / z;
    if (a.logSum) a.logSum[i] = m + __builtin_logf(z);
  }
  memset(a.out, 0, sizeof(float) * Q * a.dp);
  eachPart<Q>(
      a, [&](const Part& part) { addValues<C, Q>(a, part); },
      [&](const Part& part, auto queries) { addValues<float, queries.value>(a, part); });
  for (int i = 0; i < Q; i++)
    for (int c = 0; c < a.dp; c += lanes) {
      float* out = a.out + (size_t)i * a.dp + c;
      store(out, mul(load(out), set1(scale[i])));
    }
}

// <dout, v_t> of each query, for the sixteen positions of a block.
template <typename C, int Q>
void valueSlopes(const Attention& a, const KeyBlock& block, int query, F16* slopes) {
  constexpr int together = 4;
  const float* dout = a.dout + (size_t)query * a.dp;
  F16 partial[Q][pageSize];
  UNROLL for (int from = 0; from < pageSize; from += together) {
    F16 sum[Q][together];
    UNROLL for (int i = 0; i < Q; i++)
      UNROLL for (int t = 0; t < together; t++) sum[i][t] = zero();
    const C* values = (const C*)block.values + (size_t)from * a.dp;
    for (int c = 0; c < a.dp; c += lanes) {
      F16 value[together];
      UNROLL for (int t = 0; t < together; t++) value[t] = load(values + (size_t)t * a.dp + c);
      UNROLL for (int i = 0; i < Q; i++) {
        const F16 d = load(dout + (size_t)i * a.dp + c);
        UNROLL for (int t = 0; t < together; t++) sum[i][t] = fma(d, value[t], sum[i][t]);
      }
    }
    UNROLL for (int i = 0; i < Q; i++)
      UNROLL for (int t = 0; t < together; t++) partial[i][from + t] = sum[i][t];
  }
  UNROLL for (int i = 0; i < Q; i++) {
    slopes[i] = sums(partial[i]);
    if (sizeof(C) == 1) slopes[i] = mul(slopes[i], load(block.scales + pageSize));
  }
}

void ownGradient(const Attention& a, int query, int block, F16 p, F16 ds) {
  const float* q = a.q + (size_t)query * a.dp;
  const size_t at = (size_t)query * a.ownStride + block;
  float* dkeys = a.dkeys + at * a.d * pageSize;
  for (int j = 0; j < a.d; j++, dkeys += pageSize)
    store(dkeys, fma(set1(q[j]), ds, load(dkeys)));
  float weights[pageSize];
  store(weights, p);
  float* dvalues = a.dvalues + at * pageSize * a.dp;
  const float* dout = a.dout + (size_t)query * a.dp;
  for (int t = 0; t < a.own[at].count; t++, dvalues += a.dp)
    for (int c = 0; c < a.dp; c += lanes)
      store(dvalues + c, fma(set1(weights[t]), load(dout + c), load(dvalues + c)));
}

// Lanes of dq [Q][N from j] += ds k over blocks `from` to `to`; ds stands where the scores stood.
template <typename C, int Q, int N>
void addToDqAt(const Attention& a, const Part& part, int from, int to, int j) {
  F16 sum[Q][N];
  float* dq = a.lanesOfDq + ((size_t)part.query * a.dp + j) * pageSize;
  const size_t perQuery = (size_t)a.dp * pageSize;
  UNROLL for (int i = 0; i < Q; i++)
    UNROLL for (int n = 0; n < N; n++) sum[i][n] = load(dq + i * perQuery + n * pageSize);
  for (int b = from; b < to; b++) {
    const C* keys = (const C*)part.blocks[b].keys + (size_t)j * pageSize;
    F16 key[N];
    UNROLL for (int n = 0; n < N; n++) key[n] = load(keys + n * pageSize);
    UNROLL for (int i = 0; i < Q; i++) {
      const F16 ds = load(scoresAt(a, part.query + i, part.first + b));
      UNROLL for (int n = 0; n < N; n++) sum[i][n] = fma(ds, key[n], sum[i][n]);
    }
  }
  UNROLL for (int i = 0; i < Q; i++)
    UNROLL for (int n = 0; n < N; n++) store(dq + i * perQuery + n * pageSize, sum[i][n]);
}

template <typename C, int Q>
void gradientOf(const Attention& a, const Part& part, const float* delta) {
  for (int from = 0; from < part.count; from += gradientSpan) {
    const int to = from + gradientSpan < part.count ? from + gradientSpan : part.count;
    scoresOf<C, Q>(a, part, from, to);
    for (int b = from; b < to; b++) {
      const KeyBlock& block = part.blocks[b];
      if (part.memory && b + 1 < part.count)
        for (int c = 0; c < pageSize * a.dp; c += 64 / (int)sizeof(C)) fetch((const C*)part.blocks[b + 1].values + c);
      F16 slopes[Q];
      valueSlopes<C, Q>(a, block, part.query, slopes);
      UNROLL for (int i = 0; i < Q; i++) {
        const int query = part.query + i, number = part.first + b;
        float* at = scoresAt(a, query, number);
        const F16 p = exp(sub(load(at), set1(a.logSum[query])));
        const int seen = seenLanes(a, block, number, query);
        if (seen < pageSize) slopes[i] = keep(slopes[i], seen, 0);
        F16 ds = mul(p, sub(slopes[i], set1(delta[query])));
        if (!part.memory) ownGradient(a, query, b, p, ds);
        if (sizeof(C) == 1) ds = mul(ds, load(block.scales));
        store(at, ds);
      }
    }
    int j = 0;
    for (; j + 4 <= a.d; j += 4) addToDqAt<C, Q, 4>(a, part, from, to, j);
    for (; j < a.d; j++) addToDqAt<C, Q, 1>(a, part, from, to, j);
  }
}

template <typename C, int Q>
void attendGradient(const Attention& a) {
  float delta[Q];
  for (int i = 0; i < Q; i++) {
    F16 along = zero();
    for (int c = 0; c < a.dp; c += lanes)
      along = fma(load(a.dout + (size_t)i * a.dp + c), load(a.out + (size_t)i * a.dp + c), along);
    delta[i] = sum(along);
  }
  memset(a.lanesOfDq, 0, sizeof(float) * Q * a.dp * pageSize);
  eachPart<Q>(
      a, [&](const Part& part) { gradientOf<C, Q>(a, part, delta); },
      [&](const Part& part, auto queries) { gradientOf<float, queries.value>(a, part, delta); });
  for (int j = 0; j < Q * a.dp; j++) a.dq[j] = sum(load(a.lanesOfDq + (size_t)j * pageSize));
}

// Calls the kernel that is compiled for so many queries.
template <class Kernel>
INLINE void byQueries(int queries, const Kernel& kernel) {
  switch (queries) {
    case 1: return kernel(Number<1>{});
    case 2: return kernel(Number<2>{});
    case 3: return kernel(Number<3>{});
    default: return kernel(Number<4>{});
  }
}

template <typename C>
void attention(const Attention& a) {
  byQueries(a.queries, [&](auto queries) { attend<C, queries.value>(a); });
}

template <typename C>
void attentionGradient(const Attention& a) {
  byQueries(a.queries, [&](auto queries) { attendGradient<C, queries.value>(a); });
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin

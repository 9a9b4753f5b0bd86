// Attention of up to four queries of one head over blocks of sixteen positions, those of the paged
// context and of the answer itself under one softmax:
//   s_t = <q, k_t>,  p = softmax(s),  out = sum_t p_t v_t      q, out [queries, dp]; keys [d][16];
//                                                              values [16][dp]
// The gradient keeps only log sum exp(s) of the forward pass and recomputes p block by block:
//   dp_t = <dout, v_t>,  ds_t = p_t (dp_t - <dout, out>),  dq = sum_t ds_t k_t
// and for the answer's own blocks dk_t += ds_t q, dv_t += p_t dout. The context is constant.
// Bound: one query reads each key and value once forward and once backward, so memory bandwidth.
#pragma once
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace basin {
namespace BASIN_ISA {
namespace {

constexpr float maskedScore = -1e30f;

INLINE int seenLanes(const Attention& a, int block, int query) {
  const int left = a.limit[query] - block * pageSize;
  const int count = a.blocks[block].count;
  return left < count ? left : count;
}

// The next block of the context, to be fetched while this one is computed: the prefetcher of the hardware stops
// at 4 KiB, and pages lie anywhere.
INLINE const KeyBlock* nextBlock(const Attention& a, int block) {
  return block + 1 < a.contextBlocks ? a.blocks + block + 1 : nullptr;
}

template <int Q>
INLINE void scoresOf(const Attention& a, int block, F16* s) {
  UNROLL for (int i = 0; i < Q; i++) s[i] = zero();
  if (const KeyBlock* next = nextBlock(a, block))
    for (int j = 0; j < a.d; j++) fetch(next->keys + (size_t)j * pageSize);
  const float* keys = a.blocks[block].keys;
  for (int j = 0; j < a.d; j++) {
    const F16 key = load(keys + (size_t)j * pageSize);
    UNROLL for (int i = 0; i < Q; i++) s[i] = fma(set1(a.q[(size_t)i * a.dp + j]), key, s[i]);
  }
}

// out[Q][C vectors from column c] = sum over blocks and positions of p v.
template <int Q, int C>
INLINE void sumValues(const Attention& a, int column, const float* scale) {
  F16 sum[Q][C];
  UNROLL for (int i = 0; i < Q; i++)
    UNROLL for (int c = 0; c < C; c++) sum[i][c] = zero();
  const int width = a.blockCount * pageSize;
  int most = 0;
  for (int i = 0; i < Q; i++) most = a.limit[i] > most ? a.limit[i] : most;
  for (int b = 0; b < a.blockCount; b++) {
    const int left = most - b * pageSize;
    const int count = left < a.blocks[b].count ? left : a.blocks[b].count;
    const float* values = a.blocks[b].values + column;
    if (const KeyBlock* next = nextBlock(a, b))
      for (int t = 0; t < pageSize; t++)
        for (int c = 0; c < C; c++) fetch(next->values + (size_t)t * a.dp + column + c * lanes);
    for (int t = 0; t < count; t++, values += a.dp) {
      F16 value[C];
      UNROLL for (int c = 0; c < C; c++) value[c] = load(values + c * lanes);
      UNROLL for (int i = 0; i < Q; i++) {
        const F16 p = set1(a.scores[(size_t)i * width + b * pageSize + t]);
        UNROLL for (int c = 0; c < C; c++) sum[i][c] = fma(p, value[c], sum[i][c]);
      }
    }
  }
  UNROLL for (int i = 0; i < Q; i++)
    UNROLL for (int c = 0; c < C; c++)
      store(a.out + (size_t)i * a.dp + column + c * lanes, mul(sum[i][c], set1(scale[i])));
}

template <int Q>
void attend(const Attention& a) {
  const int width = a.blockCount * pageSize;
  F16 top[Q];
  UNROLL for (int i = 0; i < Q; i++) top[i] = set1(maskedScore);
  for (int b = 0; b < a.blockCount; b++) {
    F16 s[Q];
    scoresOf<Q>(a, b, s);
    UNROLL for (int i = 0; i < Q; i++) {
      const int seen = seenLanes(a, b, i);
      if (seen < pageSize) s[i] = keep(s[i], seen < 0 ? 0 : seen, maskedScore);
      store(a.scores + (size_t)i * width + b * pageSize, s[i]);
      top[i] = larger(top[i], s[i]);
    }
  }
  float scale[Q];
  for (int i = 0; i < Q; i++) {
    const float m = largest(top[i]);
    float* s = a.scores + (size_t)i * width;
    F16 total = zero();
    for (int b = 0; b < width; b += pageSize) {
      const F16 e = exp(sub(load(s + b), set1(m)));
      store(s + b, e);
      total = add(total, e);
    }
    const float z = sum(total);
    scale[i] = 1.f / z;
    if (a.logSum) a.logSum[i] = m + __builtin_logf(z);
  }
  int column = 0;
  for (; column + 4 * lanes <= a.dp; column += 4 * lanes) sumValues<Q, 4>(a, column, scale);
  for (; column < a.dp; column += lanes) sumValues<Q, 1>(a, column, scale);
}

void attention(const Attention& a) {
  switch (a.queries) {
    case 1: return attend<1>(a);
    case 2: return attend<2>(a);
    case 3: return attend<3>(a);
    default: return attend<4>(a);
  }
}

// <dout, v_t> for the sixteen positions of a block.
INLINE F16 valueSlopes(const Attention& a, const float* values, const float* dout) {
  F16 partial[pageSize];
  UNROLL for (int t = 0; t < pageSize; t++) partial[t] = zero();
  for (int c = 0; c < a.dp; c += lanes) {
    const F16 d = load(dout + c);
    UNROLL for (int t = 0; t < pageSize; t++)
      partial[t] = fma(d, load(values + (size_t)t * a.dp + c), partial[t]);
  }
  return sums(partial);
}

INLINE void ownGradient(const Attention& a, int query, int block, F16 p, F16 ds) {
  const float* q = a.q + (size_t)query * a.dp;
  float* dkeys = a.dkeys + (size_t)(block - a.ownFrom) * a.d * pageSize;
  for (int j = 0; j < a.d; j++, dkeys += pageSize)
    store(dkeys, fma(set1(q[j]), ds, load(dkeys)));
  float weights[pageSize];
  store(weights, p);
  float* dvalues = a.dvalues + (size_t)(block - a.ownFrom) * pageSize * a.dp;
  const float* dout = a.dout + (size_t)query * a.dp;
  for (int t = 0; t < a.blocks[block].count; t++, dvalues += a.dp)
    for (int c = 0; c < a.dp; c += lanes)
      store(dvalues + c, fma(set1(weights[t]), load(dout + c), load(dvalues + c)));
}

template <int Q>
void attendGradient(const Attention& a) {
  const size_t perQuery = (size_t)a.d * pageSize;
  float delta[Q];
  for (int i = 0; i < Q; i++) {
    F16 along = zero();
    for (int c = 0; c < a.dp; c += lanes)
      along = fma(load(a.dout + (size_t)i * a.dp + c), load(a.out + (size_t)i * a.dp + c), along);
    delta[i] = sum(along);
  }
  memset(a.lanesOfDq, 0, sizeof(float) * Q * perQuery);
  for (int b = 0; b < a.blockCount; b++) {
    F16 s[Q], ds[Q];
    scoresOf<Q>(a, b, s);
    if (const KeyBlock* next = nextBlock(a, b))
      for (int j = 0; j < a.dp; j++) fetch(next->values + (size_t)j * pageSize);
    UNROLL for (int i = 0; i < Q; i++) {
      const int seen = seenLanes(a, b, i);
      F16 p = exp(sub(s[i], set1(a.logSum[i])));
      F16 slopes = valueSlopes(a, a.blocks[b].values, a.dout + (size_t)i * a.dp);
      if (seen < pageSize) {
        p = keep(p, seen < 0 ? 0 : seen, 0);
        slopes = keep(slopes, seen < 0 ? 0 : seen, 0);
      }
      ds[i] = mul(p, sub(slopes, set1(delta[i])));
      if (b >= a.ownFrom) ownGradient(a, i, b, p, ds[i]);
    }
    const float* keys = a.blocks[b].keys;
    for (int j = 0; j < a.d; j++) {
      const F16 key = load(keys + (size_t)j * pageSize);
      float* dq = a.lanesOfDq + (size_t)j * pageSize;
      UNROLL for (int i = 0; i < Q; i++)
        store(dq + i * perQuery, fma(ds[i], key, load(dq + i * perQuery)));
    }
  }
  for (int i = 0; i < Q; i++)
    for (int j = 0; j < a.d; j++)
      a.dq[(size_t)i * a.dp + j] = sum(load(a.lanesOfDq + i * perQuery + (size_t)j * pageSize));
}

void attentionGradient(const Attention& a) {
  switch (a.queries) {
    case 1: return attendGradient<1>(a);
    case 2: return attendGradient<2>(a);
    case 3: return attendGradient<3>(a);
    default: return attendGradient<4>(a);
  }
}

}  // namespace
}  // namespace BASIN_ISA
}  // namespace basin

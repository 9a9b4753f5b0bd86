// What is read out of a slot: tokens, log-probabilities, logits, weights, or embeddings.
#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace basin {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// As `drawAmong` of src/refine/sampling.ts, bit for bit, over `weights` [count]. -1 where they are not finite.
int drawAmong(const float* weights, int count, double draw) {
  double sum = 0;
  for (int v = 0; v < count; v++) sum += weights[v];
  if (!(sum > 0 && sum < infinity)) return -1;
  double left = draw * sum;
  int last = 0;
  for (int v = 0; v < count; v++) {
    if (weights[v] > 0) last = v;
    left -= weights[v];
    if (left < 0) return v;
  }
  return last;
}

// Gives tokens whose bit is not set in `allowed` [V / 32] this value in `row` [V].
void replaceOthers(float* row, int vocab, const int32_t* allowed, float value) {
  for (int from = 0; from < vocab; from += 32) {
    const uint32_t word = uint32_t(allowed[from / 32]);
    if (word == ~0u) continue;
    const int count = std::min(32, vocab - from);
    // Nearly all words of a mask are full or empty.
    if (word == 0) std::fill_n(row + from, count, value);
    else
      for (int i = 0; i < count; i++)
        if (!(word >> i & 1)) row[from + i] = value;
  }
}

// Below every logit, and finite, as the kernels want it.
constexpr float impossible = -1e9f;

}  // namespace

const float* Engine::answerOf(const Slot& slot, Which which) const {
  if (which == Which::best && slot.bestEnergy < infinity) return slot.best;
  if (which == Which::present) return slot.state;
  return vocabSpace() ? slot.state : slot.last;
}

void Engine::read(int index, Which which, int top, float temperature, int32_t* tokens, float* logProbs, float* logits,
                  const double* draws, const int32_t* allowed) {
  Slot& slot = begunSlot(index);
  const float* answer = answerOf(slot, which);
  const Config& c = model.config;
  const size_t wide = c.vocabPadded();
  for (int from = 0; from < block(); from += readPositions) {
    const int count = std::min(readPositions, block() - from);
    if (vocabSpace()) memcpy(readLogits, answer + from * wide, sizeof(float) * count * wide);
    else sharedPass.network.multiply(model.readout, answer + from * ld(), int(ld()), count, readLogits, int(wide), nullptr);
    for (int i = 0; i < count; i++) {
      float* row = readLogits + i * wide;
      const int clamped = slot.clamped[from + i];
      if (clamped >= 0) {
        std::fill(row, row + c.vocab, impossible);
        row[clamped] = 0;
      }
      const int32_t* mask = clamped < 0 && (top > 0 || temperature > 0) ? allowed : nullptr;
      if (mask) replaceOthers(row, c.vocab, mask, impossible);
      if (top > 0) mostProbable(row, top, tokens + size_t(from + i) * top, logProbs + size_t(from + i) * top);
      if (temperature > 0) kernels.weigh(row, c.vocab, temperature);
      if (mask && temperature > 0) replaceOthers(row, c.vocab, mask, 0);
      if (draws) tokens[from + i] = drawAmong(row, c.vocab, draws[from + i]);
      if (logits) memcpy(logits + size_t(from + i) * c.vocab, row, sizeof(float) * c.vocab);
    }
  }
}

void Engine::answerPoint(int index, Which which, float* out) {
  Slot& slot = begunSlot(index);
  const float* answer = answerOf(slot, which);
  const Config& c = model.config;
  std::vector<float> row(ld());
  for (int i = 0; i < block(); i++, out += c.dim) {
    const float* z = answer + i * stateLd();
    if (!vocabSpace()) {
      memcpy(out, z, sizeof(float) * c.dim);
      continue;
    }
    const float largest = *std::max_element(z, z + c.vocab);
    double total = 0;
    for (int v = 0; v < c.vocab; v++) total += std::exp(double(z[v]) - largest);
    std::vector<double> sum(c.dim);
    for (int v = 0; v < c.vocab; v++) {
      const double p = std::exp(double(z[v]) - largest) / total;
      if (p < 1e-12) continue;
      model.vocabRow(v, row.data());
      for (int j = 0; j < c.dim; j++) sum[j] += p * row[j];
    }
    for (int j = 0; j < c.dim; j++) out[j] = float(sum[j]);
  }
}

void Engine::tokenVectors(const std::vector<int>& tokens, float* out) const {
  std::vector<float> row(ld());
  for (const int token : tokens) {
    model.tokenVector(token, row.data());
    memcpy(out, row.data(), sizeof(float) * model.config.dim);
    out += model.config.dim;
  }
}

// The `top` largest of `logits` [V], ties going to the lower token, with their log-probabilities: `tokens`
// [top], `logProbs` [top].
void Engine::mostProbable(float* logits, int top, int32_t* tokens, float* logProbs) {
  const int vocab = model.config.vocab;
  float largest = 0, total = 0, moment = 0;
  Entropy e{logits, 0, 1, vocab, &largest, &total, &moment};
  kernels.entropy(e);
  const double logSum = double(largest) + std::log(double(total));
  const auto value = [&](int v) { return std::isnan(logits[v]) ? -infinity : double(logits[v]); };
  order.resize(vocab);
  for (int v = 0; v < vocab; v++) order[v] = v;
  const auto before = [&](int a, int b) { return value(a) > value(b) || (value(a) == value(b) && a < b); };
  if (top == 1) {
    tokens[0] = *std::min_element(order.begin(), order.end(), before);
  } else {
    std::partial_sort(order.begin(), order.begin() + top, order.end(), before);
    std::copy(order.begin(), order.begin() + top, tokens);
  }
  for (int i = 0; i < top; i++) logProbs[i] = float(double(logits[tokens[i]]) - logSum);
}

}  // namespace basin

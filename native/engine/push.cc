// What requests add to the energy: their gradients by the read-out of an answer (`Push`), as gradients by its state.
// The chain rule is in docs/mathematics.md, "Composed energies". Only rows with a push cost anything here.
#include "engine/pass.h"

#include <algorithm>
#include <cmath>

namespace basin {

bool Pass::pushed() const {
  return std::any_of(rows.begin(), rows.end(), [](const PassRow& row) { return row.push.any(); });
}

// Latent space: adds the gradient by the state to `to` [positions][ld] or, where `scaled`, takes the step size
// times it from `to`. By logits it is U^T g, and the points are the state.
void Pass::pushLatent(float* to, bool scaled) {
  const size_t width = ld(), dim = config.dim, vocab = config.vocab;
  tokenVector.resize(width);
  const auto eachMoving = [&](const auto& work) {
    for (size_t r = 0; r < rows.size(); r++) {
      const PassRow& row = rows[r];
      if (!row.push.any()) continue;
      const float factor = scaled ? -row.alpha : 1.f;
      for (int i = 0; i < block(); i++)
        if (row.moves(i)) work(row.push, i, factor, to + (runs[r].first + size_t(i)) * width);
    }
  };
  eachMoving([&](const Push& push, int i, float factor, float* at) {
    for (size_t j = 0; push.points && j < dim; j++) at[j] += factor * push.points[i * dim + j];
  });
  for (size_t v = 0; v < vocab; v++) {
    bool ready = false;
    eachMoving([&](const Push& push, int i, float factor, float* at) {
      const float g = push.logits ? push.logits[i * vocab + v] : 0;
      if (g == 0) return;
      if (!ready) model.tokenVector(int(v), tokenVector.data());
      ready = true;
      kernels.fma(at, factor * g, tokenVector.data(), at, width);
    });
  }
}

// Vocabulary space: the logits are the state z, and the points are W p with p = softmax(z), so that by z their
// gradient is p_v (<g, W_v> - sum_u p_u <g, W_u>). Taken before the step, which may write over the state.
void Pass::computeVocabPushes() {
  const size_t vocab = config.vocab, floats = size_t(block()) * vocab;
  const size_t count = std::count_if(rows.begin(), rows.end(), [](const PassRow& row) { return row.push.any(); });
  vocabPushes.assign(count * floats, 0);
  tokenVector.resize(ld());
  std::vector<float> points(ld());
  std::vector<double> chances(vocab), along(vocab);
  float* out = vocabPushes.data();
  for (const PassRow& row : rows) {
    if (!row.push.any()) continue;
    for (int i = 0; i < block(); i++, out += vocab) {
      if (!row.moves(i)) continue;
      if (row.push.logits) memcpy(out, row.push.logits + i * vocab, sizeof(float) * vocab);
      if (!row.push.points) continue;
      memcpy(points.data(), row.push.points + size_t(i) * config.dim, sizeof(float) * config.dim);
      const float* z = row.slot->state + i * stateLd();
      const double largest = *std::max_element(z, z + vocab);
      double total = 0, mean = 0;
      for (size_t v = 0; v < vocab; v++) {
        model.tokenVector(int(v), tokenVector.data());
        along[v] = kernels.dot(points.data(), tokenVector.data(), ld());
        total += chances[v] = std::exp(z[v] - largest);
      }
      for (size_t v = 0; v < vocab; v++) mean += (chances[v] /= total) * along[v];
      for (size_t v = 0; v < vocab; v++) out[v] += float(chances[v] * (along[v] - mean));
    }
  }
}

// Adds those gradients to the step that was taken, and to the norm of its direction.
void Pass::pushVocab() {
  const size_t vocab = config.vocab;
  const float* push = vocabPushes.data();
  for (size_t r = 0; r < rows.size(); r++) {
    const PassRow& row = rows[r];
    if (!row.push.any()) continue;
    double square = results[r].gradientNorm * results[r].gradientNorm;
    for (int i = 0; i < block(); i++, push += vocab) {
      if (!row.moves(i)) continue;
      float* z = row.slot->state + i * stateLd();
      const float* slope = network.slope() + (runs[r].first + size_t(i)) * ld();
      for (size_t v = 0; v < vocab; v++) {
        if (push[v] == 0) continue;
        model.tokenVector(int(v), tokenVector.data());
        square += double(push[v]) * (push[v] + 2 * kernels.dot(slope, tokenVector.data(), ld()));
        z[v] -= row.alpha * push[v];
      }
    }
    results[r].gradientNorm = std::sqrt(std::max(0.0, square));
    row.slot->embedded = Embedded::no;
  }
}

}  // namespace basin

#include "model/vocabulary.h"

#include <algorithm>
#include <cmath>

namespace basin {

namespace {
// Floats of the sums of all chunks, before they are merged; positions of one run over the matrix; pieces of a
// merged sum.
constexpr size_t mergeFloats = size_t(16) << 20;
constexpr int mostPositions = 64;
constexpr int mergeParts = 4;
}  // namespace

Vocabulary::Vocabulary(const Model& m, const Kernels& k, Pool& p, int positions, Arena& arena)
    : model(m),
      kernels(k),
      pool(p),
      ld(m.config.ld()),
      chunks((m.config.vocabPadded() + vocabChunk - 1) / vocabChunk),
      narrows(m.together > 1),
      inputBytes(narrows ? numberBytes(m.type) : sizeof(float)) {
  const size_t fits = std::max<size_t>(4, mergeFloats / (size_t(chunks) * ld));
  most = int(std::min<size_t>({fits / 4 * 4, size_t(mostPositions), size_t(padded(positions, 4))}));
  const size_t rows = most, ldTable = model.vocab.ld;
  g = arena.take<char>(rows * ldTable * inputBytes);
  gScaled = narrows ? arena.take<Scaled>(rows) : nullptr;
  e = arena.take<float>(chunks * rows * ld);
  top = arena.take<float>(chunks * rows);
  total = arena.take<float>(chunks * rows);
  squares = arena.take<float>(chunks * rows);
  for (int t = 0; t < pool.threads(); t++) {
    Scratch s{};
    s.weights = arena.take<float>(rows * tileWidth);
    s.lanesOfSquares = arena.take<float>(rows * lanes);
    if (narrows) {
      s.narrowWeights = arena.take<char>(rows * tileWidth * inputBytes);
      s.scaledWeights = arena.take<Scaled>(rows);
    }
    scratch.push_back(s);
  }
  in.resize(most);
  out.resize(most);
  logSum.resize(most);
  alpha.resize(most);
}

void Vocabulary::pass(const std::vector<VocabPosition>& positions, bool update, bool normalizedIn, bool normalizedOut) {
  const size_t rowBytes = model.vocab.ld * inputBytes;
  for (size_t from = 0; from < positions.size(); from += most) {
    const int rows = int(std::min<size_t>(most, positions.size() - from));
    for (int row = 0; row < rows; row++) {
      const VocabPosition& p = positions[from + row];
      in[row] = p.in;
      out[row] = p.out;
      logSum[row] = p.logSum;
      alpha[row] = p.alpha;
      if (update && narrows) gScaled[row] = kernels.narrow(p.g, g + row * rowBytes, ld);
      else if (update) memcpy(g + row * rowBytes, p.g, sizeof(float) * ld);
    }
    pool.run(chunks, [&](int index, int thread) { chunk(index, thread, rows, update, normalizedIn, normalizedOut); });
    pool.run(rows * mergeParts, [&](int task, int) {
      merge(positions[from + task / mergeParts], task / mergeParts, task % mergeParts, update, normalizedOut);
    });
  }
}

void Vocabulary::chunk(int index, int thread, int rows, bool update, bool normalizedIn, bool normalizedOut) {
  const size_t at = size_t(index) * most;
  Vocab v{};
  v.table = model.vocab.rows;
  v.rowScale = model.vocab.rowScale;
  v.ld = ld;
  v.ldTable = model.vocab.ld;
  v.from = index * vocabChunk;
  v.to = std::min(v.from + vocabChunk, model.config.vocabPadded());
  v.size = model.config.vocab;
  v.rows = rows;
  v.in = in.data();
  v.out = out.data();
  v.logSum = logSum.data();
  v.alpha = alpha.data();
  v.g = g;
  v.normalizedIn = normalizedIn;
  v.normalizedOut = normalizedOut;
  v.gScaled = gScaled;
  v.weights = scratch[thread].weights;
  v.lanesOfSquares = scratch[thread].lanesOfSquares;
  v.narrowWeights = scratch[thread].narrowWeights;
  v.scaledWeights = scratch[thread].scaledWeights;
  v.e = e + at * ld;
  v.top = top + at;
  v.total = total + at;
  v.squares = squares + at;
  const int type = int(model.vocab.type);
  (update ? kernels.vocabUpdate : kernels.vocabEmbed)[type](v);
}

// Merges one quarter of the columns of one position's e; the first quarter also merges its scalars.
void Vocabulary::merge(const VocabPosition& position, int row, int part, bool update, bool normalizedOut) {
  float m = -INFINITY;
  for (int c = 0; c < chunks; c++) m = std::fmax(m, top[size_t(c) * most + row]);
  double sum = 0, slope = 0;
  const int quarter = padded((ld + mergeParts - 1) / mergeParts, lanes);
  const int from = std::min(part * quarter, ld), count = std::min(quarter, ld - from);
  memset(position.e + from, 0, sizeof(float) * count);
  for (int c = 0; c < chunks; c++) {
    const size_t at = size_t(c) * most + row;
    const float factor = normalizedOut ? std::exp(top[at] - m) : 1.f;
    sum += double(factor) * total[at];
    slope += squares[at];
    kernels.fma(position.e + from, factor, e + at * ld + from, position.e + from, count);
  }
  if (normalizedOut) {
    const float inverse = float(1 / sum);
    for (int i = from; i < from + count; i++) position.e[i] *= inverse;
  }
  if (part > 0) return;
  if (normalizedOut) *position.newLogSum = m + float(std::log(sum));
  if (update && position.squares) *position.squares += slope;
}

}  // namespace basin

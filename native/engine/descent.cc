// A step of a pass: the points where energies are taken, the directions of descent, and the new states.
// The energies themselves are in energies.cc.
#include <algorithm>
#include <cmath>

#include "engine/pass.h"

namespace basin {

template <class Work>
void Pass::eachPosition(const Work& work) {
  for (size_t r = 0; r < rows.size(); r++)
    for (int i = 0; i < runs[r].positions; i++) work(rows[r], runs[r], i, size_t(runs[r].first) + i);
}

void Pass::step(RowResult* out) {
  evaluate();
  computeDirections();
  if (vocabSpace() && pushed()) computeVocabPushes();
  if (vocabSpace()) stepVocab();
  else stepLatent();
  if (std::any_of(rows.begin(), rows.end(), [](const PassRow& row) { return row.acceptLower; })) revertUnlessLower();
  for (size_t i = 0; i < rows.size(); i++) {
    rows[i].slot->stateIsAnswer = true;
    results[i].best = rows[i].slot->bestEnergy;
    out[i] = results[i];
  }
}

const std::vector<RowResult>& Pass::evaluate() {
  computeBasePoints();
  embedStates();
  computeInputs();
  forward();
  computeEnergies();
  return results;
}

void Pass::noise(const Slot& slot, int step, double factor, const float* from, float* to, bool movingOnly) {
  const size_t width = config.stateWidth(), total = size_t(block()) * width;
  constexpr size_t chunk = 4096;
  const NoiseKey key{slot.seed, slot.candidate, step};
  pool.run(int((total + chunk - 1) / chunk), [&](int task, int) {
    normals(key, task * chunk, std::min(total, (task + 1) * chunk), [&](size_t element, float x) {
      const size_t position = element / width, at = position * stateLd() + element % width;
      const bool still = movingOnly && slot.clamped[position] >= 0;
      to[at] = from[at] + (still ? 0.f : float(double(x) * factor));
    });
  });
}

// The points where energies are taken: states, with noise where a row asks for it.
void Pass::computeBasePoints() {
  const size_t floats = size_t(block()) * stateLd();
  for (size_t r = 0; r < rows.size(); r++) {
    PassRow& row = rows[r];
    if (vocabSpace()) {
      if (!row.slot || row.noise == 0) continue;
      noise(*row.slot, row.step, row.noise, row.slot->state, row.slot->spare, true);
      row.z = row.slot->spare;
      row.slot->embedded = Embedded::no;
    } else {
      float* base = bases + runs[r].first * ld();
      if (!row.slot) {
        for (int i = 0; i < runs[r].positions; i++)
          memcpy(base + i * ld(), model.embeddings + row.tokens[i] * ld(), sizeof(float) * ld());
      } else if (row.noise != 0) {
        noise(*row.slot, row.step, row.noise, row.slot->state, base, true);
      } else {
        memcpy(base, row.slot->state, sizeof(float) * floats);
      }
    }
  }
  if (residual() && config.direction == Direction::amortized && pushed()) pushLatent(bases, true);
}

// Vocabulary space: the embedding e of every moving position whose slot does not hold it yet.
void Pass::embedStates() {
  if (!vocabSpace()) return;
  for (const bool normalized : {true, false}) {
    const Embedded wanted = normalized ? Embedded::normalized : Embedded::raw;
    vocabPositions.clear();
    eachPosition([&](const PassRow& row, const Run&, int i, size_t) {
      if (!row.slot || row.normalized != normalized || row.slot->embedded == wanted || !row.moves(i)) return;
      VocabPosition p{};
      p.in = row.z + i * stateLd();
      p.e = row.slot->e + i * ld();
      p.newLogSum = row.slot->logSum + i;
      vocabPositions.push_back(p);
    });
    vocabulary->embed(vocabPositions, normalized);
  }
  for (const PassRow& row : rows)
    if (row.slot) row.slot->embedded = row.normalized ? Embedded::normalized : Embedded::raw;
}

// The inputs of the candidate stream.
void Pass::computeInputs() {
  const size_t width = ld();
  eachPosition([&](const PassRow& row, const Run& run, int i, size_t at) {
    float* x = network.input() + at * width;
    const int clamped = row.moves(i) ? -1 : row.slot->clamped[i];
    if (clamped >= 0) {
      memcpy(x, model.embeddings + clamped * width, sizeof(float) * width);
    } else if (!vocabSpace()) {
      kernels.fma(bases + at * width, 1, model.blank, x, width);
    } else if (row.slot) {
      memcpy(x, row.slot->e + i * width, sizeof(float) * width);
    } else {
      model.vocabRow(row.tokens[i], x);
    }
    if (!vocabSpace()) kernels.fma(x, 1, model.query + i * width, x, width);
    if (config.conditioning == Conditioning::candidate)
      kernels.fma(x, 1, model.timeEmbeddings + run.landscape * width, x, width);
  });
}

// Directions of descent: in vocabulary space dE/de in the network's `slope()`, in latent space d in `directions`.
void Pass::computeDirections() {
  const size_t width = ld();
  const bool exact = residual() && config.direction == Direction::exact;
  if (residual() && !exact) return;  // d = y - F is there already: computeEnergies needed it
  if (exact) {
    // u = y - F where a position moves; F's gradient is -u, so d = u - (dF/dy)^T u.
    eachPosition([&](const PassRow& row, const Run&, int i, size_t at) {
      if (!row.moves(i)) memset(directions + at * width, 0, sizeof(float) * width);
    });
    network.multiply(model.opinionBack, directions, int(width), positions(), network.slope(), int(width), nullptr);
  } else {
    eachPosition([&](const PassRow&, const Run&, int, size_t at) {
      float* slope = network.slope() + at * width;
      memset(slope, 0, sizeof(float) * width);
      kernels.fma(slope, config.kind == EnergyKind::potential ? model.potentialScale : 1.f, model.head, slope, width);
    });
  }
  network.backward(runs);
  if (vocabSpace()) return;
  eachPosition([&](const PassRow&, const Run&, int, size_t at) {
    const float* slope = network.slope() + at * width;
    float* d = directions + at * width;
    if (exact) kernels.fma(d, -1, slope, d, width);
    else if (config.kind == EnergyKind::potential) kernels.fma(bases + at * width, -1, slope, d, width);
    else memcpy(d, slope, sizeof(float) * width);
  });
  if (pushed()) pushLatent(directions, false);
}

// z <- base - alpha W g. A slot has three buffers: the state, the best answer so far, and a spare one that
// holds the state with noise; where the state becomes the best answer, they exchange roles. A step is taken in
// place unless the point where it begins is still needed, as the best answer or to return to.
void Pass::assignBuffers(PassRow& row, double energy) {
  Slot& slot = *row.slot;
  float* const buffers[3] = {slot.state, slot.best, slot.spare};
  if (slot.stateIsAnswer && energy < slot.bestEnergy) {
    slot.bestEnergy = energy;
    slot.best = slot.state;
  }
  const bool inPlace = !row.acceptLower && row.z != slot.best;
  for (float* buffer : buffers)
    if (buffer != slot.best && (inPlace == (buffer == row.z))) slot.state = buffer;
  for (float* buffer : buffers)
    if (buffer != slot.best && buffer != slot.state) slot.spare = buffer;
}

void Pass::stepVocab() {
  std::fill(positionSums.begin(), positionSums.end(), 0.0);
  for (size_t r = 0; r < rows.size(); r++) assignBuffers(rows[r], results[r].energy);
  const bool normalizedOut = config.normalizes(false);
  for (const bool normalized : {true, false}) {
    vocabPositions.clear();
    eachPosition([&](const PassRow& row, const Run&, int i, size_t at) {
      if (row.normalized != normalized || !row.moves(i)) return;
      positionLogSums[at] = row.slot->logSum[i];
      VocabPosition p{};
      p.in = row.z + i * stateLd();
      p.out = row.slot->state + i * stateLd();
      p.logSum = positionLogSums[at];
      p.alpha = row.alpha;
      p.g = network.slope() + at * ld();
      p.e = row.slot->e + i * ld();
      p.newLogSum = row.slot->logSum + i;
      p.squares = &positionSums[at];
      vocabPositions.push_back(p);
    });
    vocabulary->update(vocabPositions, normalized, normalizedOut);
  }
  for (size_t r = 0; r < rows.size(); r++) {
    rows[r].slot->embedded = normalizedOut ? Embedded::normalized : Embedded::raw;
    double square = 0;
    for (int i = 0; i < block(); i++) square += positionSums[runs[r].first + i];
    results[r].gradientNorm = std::sqrt(square);
  }
  if (pushed()) pushVocab();
}

// The latent step, y <- y - alpha d.
void Pass::stepLatent() {
  const size_t width = ld(), floats = block() * width;
  for (size_t r = 0; r < rows.size(); r++) {
    const PassRow& row = rows[r];
    Slot& slot = *row.slot;
    const size_t from = runs[r].first * width;
    if ((residual() || slot.stateIsAnswer) && results[r].energy < slot.bestEnergy) {
      slot.bestEnergy = results[r].energy;
      memcpy(slot.best, residual() ? opinions + from : slot.state, sizeof(float) * floats);
    }
    double square = 0;
    for (int i = 0; i < block(); i++) {
      const float* base = bases + from + i * width;
      const float* d = directions + from + i * width;
      if (row.moves(i)) {
        square += kernels.dot(d, d, width);
        kernels.fma(base, -row.alpha, d, slot.state + i * width, width);
      } else {
        memcpy(slot.state + i * width, base, sizeof(float) * width);
      }
    }
    results[r].gradientNorm = std::sqrt(square);
    memcpy(slot.last, residual() ? opinions + from : slot.state, sizeof(float) * floats);
  }
}

// Where a row asks for it, returns to the point where the step began unless the step lowered the energy.
void Pass::revertUnlessLower() {
  if (!vocabSpace()) {
    memcpy(baseCopies, bases, sizeof(float) * positions() * ld());
    for (size_t r = 0; r < rows.size(); r++)
      memcpy(bases + runs[r].first * ld(), rows[r].slot->state, sizeof(float) * block() * ld());
  }
  computeInputs();
  forward();
  std::swap(results, resultsAfter);
  computeEnergies();
  std::swap(results, resultsAfter);
  for (size_t r = 0; r < rows.size(); r++) {
    const PassRow& row = rows[r];
    Slot& slot = *row.slot;
    if (!row.acceptLower || resultsAfter[r].energy < results[r].energy) continue;
    if (!vocabSpace()) {
      memcpy(slot.state, baseCopies + runs[r].first * ld(), sizeof(float) * block() * ld());
      if (!residual()) memcpy(slot.last, slot.state, sizeof(float) * block() * ld());
      continue;
    }
    slot.embedded = Embedded::no;
    for (int i = 0; i < block(); i++) {
      if (!row.moves(i)) continue;
      const float* z = row.z + i * stateLd();
      float* p = slot.state + i * stateLd();
      const float logSum = positionLogSums[runs[r].first + i];
      for (int v = 0; v < config.vocab; v++) p[v] = row.normalized ? std::exp(z[v] - logSum) : z[v];
    }
  }
}

}  // namespace basin

// A pass: answers of a batch that are computed together, with their energies, directions and step. It
// works with the threads of its pool, and owns the memory for as many positions as it was made for.
// Formulas: docs/mathematics.md; the definition: src/energy/tfjs.
#pragma once
#include <memory>
#include <vector>
#include "network.h"
#include "noise.h"
#include "slot.h"
#include "vocabulary.h"

namespace basin {

class Pass {
 public:
  // Positions and columns of read-out logits made at once for the entropy.
  static constexpr int doubtRows = 24, doubtColumns = 1024;

  Pass(const Model& model, const Kernels& kernels, Pool& pool, Cache& cache, Room room, Arena& arena);

  bool fits(int positions) const;
  void start();
  void add(const Row& row, int sequence, int landscape, int positions);
  const std::vector<Row>& answers() const { return rows; }
  // Energies of the answers that were added.
  const std::vector<RowResult>& evaluate();
  // One step of each, in place; results of the state before it.
  void step(RowResult* results);
  // y_0 of the slot: F(c, 0), or draft norm(h) for head and potential, under the first landscape.
  void draft(Slot& slot, int sequence);
  // to = from + factor * normals, over the slot's K x width elements.
  void noise(const Slot& slot, int step, double factor, const float* from, float* to, bool movingOnly);

 private:
  bool vocabSpace() const { return config.space == Space::vocab; }
  bool residual() const { return config.kind == EnergyKind::residual; }
  bool onlyMoving() const { return !config.needsGradient(); }
  int block() const { return config.block; }
  size_t ld() const { return config.ld(); }
  size_t stateLd() const { return config.stateLd(); }
  int positions() const { return runs.empty() ? 0 : runs.back().first + runs.back().positions; }
  // Calls work(row, run, position in the answer, position in the pass) for every position.
  template <class Work>
  void eachPosition(const Work& work);

  void addNoise();
  void embedStates();
  void enter();
  void select();
  void forward();
  void judge();
  void formOpinions();
  void judgeDoubt(const float* f, int count);
  void findDirections();
  static void tradeBuffers(Row& row, double energy);
  void stepVocab();
  void stepLatent();
  void rejectHigher();

  const Model& model;
  const Config& config;
  const Kernels& kernels;
  Pool& pool;
  Cache& cache;

 public:
  Network network;

 private:
  std::unique_ptr<Vocabulary> vocabulary;
  std::vector<Row> rows;
  std::vector<Run> runs;
  std::vector<VocabPosition> vocabPositions;
  Selection selection;
  float *bases, *opinions, *directions, *kept, *compact;  // latent: [positions][ld]
  float* doubts;                         // [positions][chunks][3]
  std::vector<float*> logitScratch;      // per thread: [doubtRows][doubtColumns]
  std::vector<double> positionSums;      // per position
  std::vector<float> positionLogSums;
  std::vector<RowResult> results, after; // per row: at the state, and after the step
};

}  // namespace basin

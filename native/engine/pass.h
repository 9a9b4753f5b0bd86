// A pass: answers of a batch that are computed together, with their energies, directions and step. It
// works with the threads of its pool, and owns the memory for a fixed number of positions.
// Formulas: docs/mathematics.md; the definition: src/energy/tfjs.
#pragma once
#include <memory>
#include <vector>
#include "engine/slot.h"
#include "model/network.h"
#include "model/vocabulary.h"
#include "runtime/random.h"

namespace basin {

class Pass {
 public:
  // Positions, and columns of read-out logits, computed at once for the entropy.
  static constexpr int doubtRows = 24, doubtColumns = 1024;

  Pass(const Model& model, const Kernels& kernels, Pool& pool, ContextCache& cache, PassCapacity capacity, Arena& arena);

  bool fits(int positions) const;
  void start();
  void add(const PassRow& row, int contextId, int landscape, int positions);
  const std::vector<PassRow>& answers() const { return rows; }
  // Energies of the answers that were added.
  const std::vector<RowResult>& evaluate();
  // One step of each answer, in place; fills `results` [rows] for the state before it.
  void step(RowResult* results);
  // y_0 of the slot: F(c, 0), or draft norm(h) for head and potential, under the first landscape.
  void draft(Slot& slot, int contextId);
  // to = from + factor * normals, both [K][stateLd]; with `movingOnly` clamped positions get none.
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

  void computeBasePoints();
  void embedStates();
  void computeInputs();
  void selectPositions();
  void forward();
  void computeEnergies();
  void computeOpinions();
  void computeDoubt(const float* f, int count);
  void computeDirections();
  static void assignBuffers(PassRow& row, double energy);
  void stepVocab();
  void stepLatent();
  bool pushed() const;
  void pushLatent(float* to, bool scaled);
  void computeVocabPushes();
  void pushVocab();
  void revertUnlessLower();

  const Model& model;
  const Config& config;
  const Kernels& kernels;
  Pool& pool;
  ContextCache& cache;

 public:
  Network network;

 private:
  std::unique_ptr<Vocabulary> vocabulary;
  std::vector<PassRow> rows;
  std::vector<Run> runs;
  std::vector<VocabPosition> vocabPositions;
  Selection selection;
  float* bases;           // latent space: where the energy is taken, [positions][ld]
  float* opinions;        // F, [positions][ld]
  float* directions;      // d, [positions][ld]
  float* baseCopies;      // bases of a step that may be reverted, [positions][ld]
  float* movingOpinions;  // F of the moving positions alone, [moving][ld]
  float* entropyParts;    // largest logit, sum and moment of exp: [positions][chunks][3]
  std::vector<float*> logitScratch;   // by thread: [doubtRows][doubtColumns]
  std::vector<double> positionSums;   // [positions]: entropy, or |dE/dp|^2 in vocabulary space
  std::vector<float> positionLogSums; // [positions]
  std::vector<RowResult> results;     // [rows], at the state
  std::vector<RowResult> resultsAfter;  // [rows], after the step
  std::vector<float> tokenVector;       // one vector of the vocabulary, [ld]
  std::vector<float> vocabPushes;       // vocabulary space: gradients by the state of the rows with a push, [those rows][K][V]
};

}  // namespace basin

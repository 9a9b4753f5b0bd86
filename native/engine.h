// The engine behind src/energy/engine.ts: slots, contexts and one batch of each verb. Owns all memory.
// Every verb checks all its rows before it touches anything, and throws a Refusal.
#pragma once
#include <memory>
#include <vector>
#include "cache.h"
#include "network.h"
#include "noise.h"
#include "vocabulary.h"

namespace basin {

struct ObserveRow {
  int sequence;
  int from;  // position of the first token; -1: the end of the context
  std::vector<int> tokens, pages;
};

struct BeginRow {
  int slot, sequence;
  uint64_t seed;
  uint32_t candidate;
  std::vector<int> clamped;  // empty: all move
  const float* start;        // [K][state width], or null
  size_t startCount;
};

struct DescendRow {
  int slot, landscape, step;
  float alpha;  // 0: the checkpoint's
  double noise;
  bool acceptLower;
};

// A slot's present state where `answer` is empty, else these tokens after the context of `sequence`.
struct EnergyRow {
  int slot, sequence, landscape;
  std::vector<int> answer;
};

struct RowResult {
  double energy, gradientNorm, best, disagreement, doubt;
};

class Engine {
 public:
  // Positions and columns of read-out logits made at once for the entropy.
  static constexpr int doubtRows = 24, doubtColumns = 1024;

  Engine(const Config& config, const Capacity& capacity, WeightType type, const Kernels& kernels, const Tensors& tensors);

  // `sums`: for each row the sum of norm(h) over its tokens on the last landscape, [D]; or null.
  void observe(const std::vector<ObserveRow>& rows, float* sums = nullptr);
  void begin(const BeginRow& row);
  void descend(const std::vector<DescendRow>& rows, RowResult* results);
  void energy(const std::vector<EnergyRow>& rows, RowResult* results);
  // Most probable tokens [K][top] and their log-probabilities; or, with top 0, all logits [K][V].
  void read(int slot, bool best, int top, int32_t* tokens, float* logProbs, float* logits);
  // The answer as embeddings [K][D].
  void embedding(int slot, bool best, float* out);
  // Where the next step begins, [K][state width].
  void present(int slot, float* out);
  void release(int sequence);

  size_t bytes() const { return arena.bytes() + model.bytes(); }
  const Model& weights() const { return model; }
  Pool& threads() { return pool; }
  const Kernels& kernelTable() const { return kernels; }
  const Config& config() const { return model.config; }
  const Capacity capacity;

 private:
  // Which embedding of its state a slot holds.
  enum class Embedded { no, normalized, raw };

  struct Slot {
    bool begun = false, judged = false, clampedSome = false;
    int sequence = 0;
    uint64_t seed = 0;
    uint32_t candidate = 0;
    double bestEnergy = 0;
    Embedded embedded = Embedded::no;
    int* clamped;          // [K], -1 moves
    float *state, *best;   // [K][width]
    float* last;           // latent: what the latest step reads out, [K][ld]
    float* spare;          // vocab: a third buffer, so that keeping the best is a swap
    float *e, *logSum;     // vocab: embedding of the state [K][ld], log sum exp [K]
  };

  // One answer in a pass.
  struct Row {
    Slot* slot;            // null for given answers
    const int* tokens;     // given answers
    float* z;              // vocab: the state the energy is taken at, noise included
    bool normalized;       // vocab: whether that state passes through softmax
    float alpha;
    double noise;
    int step;
    bool acceptLower;
    RowResult* result;
  };

  bool vocabSpace() const { return model.config.space == Space::vocab; }
  bool residual() const { return model.config.kind == EnergyKind::residual; }
  int block() const { return model.config.block; }
  size_t ld() const { return model.config.ld(); }
  bool onlyMoving() const { return !model.config.needsGradient(); }
  size_t stateLd() const { return vocabSpace() ? model.config.vocabPadded() : model.config.ld(); }
  bool normalizes(bool first) const;
  Slot& begunSlot(double index);
  static bool moves(const Row& row, int position) { return !row.slot || row.slot->clamped[position] < 0; }
  // Calls work(row, run, position in the answer, position in the pass) for every position.
  template <class Work>
  void eachPosition(const Work& work);

  // The pass: rows come in until it is full; its verbs are in descent.cc.
  bool fits(int positions) const;
  void startPass();
  void addRow(const Row& row, int sequence, int landscape, int positions);
  void evaluatePass();
  void stepPass(RowResult* results);

  void addNoise();
  void noise(const Slot& slot, int step, double factor, const float* from, float* to, bool movingOnly);
  void embedStates();
  void enter();
  void forward();
  void judge();
  void formOpinions();
  void judgeDoubt(const float* f, int positions);
  void findDirections();
  static void tradeBuffers(Row& row, double energy);
  void stepVocab();
  void stepLatent();
  void rejectHigher();

  void draft(const BeginRow& row);
  void checkObserve(const std::vector<ObserveRow>& given);
  int checkRow(const ObserveRow& row, int length, std::vector<std::pair<int, uint8_t>>& before);
  void observePass(const std::vector<const int*>& tokens, const std::vector<float*>& sums);
  void observeStepTokens();
  void topOf(float* logits, int top, int32_t* tokens, float* logProbs);

  Arena arena;
  Pool pool;
  const Kernels& kernels;
  Model model;
  Cache cache;
  Network network;
  std::unique_ptr<Vocabulary> vocabulary;
  std::vector<Slot> slots;

  // The present pass.
  std::vector<Row> rows;
  std::vector<Run> runs;
  std::vector<VocabPosition> vocabPositions;
  std::vector<int> wanted;                      // positions that move
  float* contextDrafts;                         // [sequences][ld]: F of the observed stream at its last token
  float *bases, *opinions, *directions, *kept, *compact;  // latent: [positions][ld]
  float *doubts;                         // [positions][chunks][3]
  std::vector<float*> logitScratch;      // per thread: [doubtRows][doubtColumns]
  float* readLogits;                     // [readPositions][V padded]
  std::vector<double> positionSums;      // per position of the pass
  std::vector<float> positionLogSums;
  std::vector<bool> inBatch;             // per slot
  std::vector<int> order;                // tokens being ranked
  std::vector<RowResult> results, after; // per row of the pass: at the state, and after the step
};

}  // namespace basin

// The engine behind src/energy/engine.ts: slots, contexts and one batch of each verb. Owns all memory.
// Every verb checks all its rows before it touches anything, and throws a Refusal.
#pragma once
#include <memory>
#include <vector>
#include "interrupt.h"
#include "pass.h"

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

// What is told of an answer, before the results of its steps: its token, and seconds.
struct StrideAnswer {
  double token, observe, descend, read;
};

// Answers in a row: see StrideRow in src/energy/engine.ts.
struct StrideRow {
  ObserveRow observe;             // the token before the first answer
  std::vector<DescendRow> steps;  // of every answer
  uint64_t seed;
  uint32_t answer, draw;          // numbers of the first answer and of its token
  bool best;
  float temperature;              // 0: the most probable token
  int end;                        // token after which nothing follows, or -1
  int most;                       // answers
  double seconds;                 // no other answer begins after them

  // Numbers that are told of an answer.
  size_t width() const { return (sizeof(StrideAnswer) + steps.size() * sizeof(RowResult)) / sizeof(double); }
};

// A slot's present state where `answer` is empty, else these tokens after the context of `sequence`.
struct EnergyRow {
  int slot, sequence, landscape;
  std::vector<int> answer;
};

class Engine {
 public:
  Engine(const Config& config, const Capacity& capacity, WeightType type, const Kernels& kernels, const Tensors& tensors);

  // `sums`: for each row the sum of norm(h) over its tokens on the last landscape, [D]; or null.
  void observe(const std::vector<ObserveRow>& rows, float* sums = nullptr);
  void begin(const BeginRow& row);
  // Returns for how many rows: all, or those of the rounds before the bell rang, at least one round.
  size_t descend(const std::vector<DescendRow>& rows, RowResult* results, const Bell& bell = {nullptr});
  void energy(const std::vector<EnergyRow>& rows, RowResult* results);
  // Most probable tokens [K][top] and their log-probabilities; with top 0 all logits [K][V], weights of a
  // temperature above 0, or by `chances` [K] the tokens that are drawn, -1 where weights are not finite.
  void read(int slot, bool best, int top, float temperature, int32_t* tokens, float* logProbs, float* logits,
            const double* chances = nullptr);
  // Fills most x (StrideAnswer, a RowResult for each step); returns for how many answers. Those whose
  // energies or read-out are not finite are left to whoever asks for them one by one.
  int stride(StrideRow row, double* out, const Bell& bell);
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
  // Positions whose logits are made at once.
  static constexpr int readPositions = 16;

  bool vocabSpace() const { return model.config.space == Space::vocab; }
  bool residual() const { return model.config.kind == EnergyKind::residual; }
  int block() const { return model.config.block; }
  size_t ld() const { return model.config.ld(); }
  size_t stateLd() const { return model.config.stateLd(); }
  Slot& begunSlot(double index);
  void makeSlots();
  void checkDescend(const std::vector<DescendRow>& given);
  void descendOnce(const DescendRow* given, size_t count, RowResult* results);
  void descend(const DescendRow* given, size_t count, RowResult* results, Pass& by);

  void checkObserve(const std::vector<ObserveRow>& given);
  int checkRow(const ObserveRow& row, int length, std::vector<std::pair<int, uint8_t>>& before);
  void observePass(const std::vector<const int*>& tokens, const std::vector<float*>& sums);
  void observeStepTokens();
  int choose(const StrideRow& row, int answer);
  void topOf(float* logits, int top, int32_t* tokens, float* logProbs);

  Arena arena;
  Pool pool, alone{1};
  const Kernels& kernels;
  Model model;
  Cache cache;
  // Of all threads together; and one for each thread, for batches that give each enough to do.
  Pass together;
  std::vector<std::unique_ptr<Pass>> apart;
  std::vector<Slot> slots;

  std::vector<Run> observed;             // of the present pass of observed tokens
  float* ends;                           // F of their last tokens, [runs][ld]
  float* anchors;                        // A times those, [runs][ld], where opinions correct a draft
  float* contextDrafts;                  // [sequences][ld]: F of the observed stream at its last token
  float* readLogits;                     // [readPositions][V padded]
  std::vector<bool> inBatch;             // per slot
  std::vector<int> order;                // tokens being ranked
};

}  // namespace basin

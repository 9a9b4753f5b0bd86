// The engine behind src/energy/engine.ts: slots, contexts and one batch of each verb. It owns all memory.
// Every verb checks all its rows before it changes anything, and throws a Refusal if one does not fit.
#pragma once
#include <memory>
#include <vector>
#include "engine/pass.h"
#include "runtime/interrupt.h"

namespace basin {

struct ObserveRow {
  int contextId;
  int from;  // position of the first token; -1: the end of the context
  std::vector<int> tokens, pages;
};

struct BeginRow {
  int slot, contextId;
  uint64_t seed;
  uint32_t candidate;
  std::vector<int> clamped;  // [K] tokens, -1 moves; empty: all positions move
  const float* start;        // [K][state width], or null for the model's own start
  size_t startCount;         // numbers in `start`
};

struct DescendRow {
  int slot, landscape, step;
  float alpha;
  double noise;
  bool acceptLower;
  Push push;
};

// What is read of a slot: the answer after the latest step, the best one, or where the next step begins.
enum class Which { last, best, present };

// The results of one answer of `multiStep`, before those of its steps: its token, and seconds.
struct MultiStepAnswer {
  double token, observe, descend, read;
};

// As MultiStepRow in src/energy/engine.ts.
struct MultiStepRow {
  ObserveRow observe;             // the token before the first answer
  std::vector<DescendRow> steps;  // of every answer
  uint64_t seed;
  uint32_t answer, draw;          // numbers of the first answer and of the draw of its token
  bool best;
  float temperature;              // 0: the most probable token
  int end;                        // no answer follows this token; -1: none is meant
  int most;                       // answers
  double seconds;                 // no answer but the first begins later than this

  // Numbers of the results of one answer.
  size_t width() const { return (sizeof(MultiStepAnswer) + steps.size() * sizeof(RowResult)) / sizeof(double); }
};

// The state of `slot`, or, where that is -1, the tokens `answer` after the context `contextId`.
struct EnergyRow {
  int slot, contextId, landscape;
  std::vector<int> answer;
};

struct NumberTypes {
  NumberType weights, cache;
};

class Engine {
 public:
  Engine(const Config& config, const Capacity& capacity, const NumberTypes& types, const Kernels& kernels, const Tensors& tensors);

  // `sums`: for each row the sum of norm(h) over its tokens on the last landscape, [rows][D]; or null.
  void observe(const std::vector<ObserveRow>& rows, float* sums = nullptr);
  void begin(const BeginRow& row);
  // Fills `results` [rows]. Returns the number of rows stepped: all, or those of the rounds before the
  // interrupt was raised, of which there is at least one.
  size_t descend(const std::vector<DescendRow>& rows, RowResult* results, const Interrupt& interrupt = {nullptr});
  // Fills `results` [rows].
  void energy(const std::vector<EnergyRow>& rows, RowResult* results);
  // With `top` above 0, the most probable `tokens` [K][top] and their `logProbs` [K][top]. With `top` 0,
  // `logits` [K][V]: logits, or with a temperature above 0 softmax weights. With `draws` [K], numbers in
  // (0, 1), the `tokens` [K] drawn by those weights; -1 where the weights are not finite. With `allowed`, one bit for
  // each token, the others have weight 0 and are not among the most probable; logits are as they are.
  void read(int slot, Which which, int top, float temperature, int32_t* tokens, float* logProbs, float* logits,
            const double* draws = nullptr, const int32_t* allowed = nullptr);
  // Fills `out` [most][row.width()]; returns the number of answers. It ends before an answer whose energies
  // or read-out are not finite: the verbs, called one by one, report that.
  int multiStep(MultiStepRow row, double* out, const Interrupt& interrupt);
  // The answer as embeddings, `out` [K][D].
  void answerPoint(int slot, Which which, float* out);
  // Where the next step begins, `out` [K][state width].
  void presentPoint(int slot, float* out);
  // The vectors that points consist of, `out` [tokens][D].
  void tokenVectors(const std::vector<int>& tokens, float* out) const;
  // The answer in a slot, to continue later: `numbers` [savedNumbers()] and `values` [savedValues()] as
  // src/energy/native/addon.ts lists them. `restore` refuses numbers that are out of range.
  size_t savedNumbers() const;
  size_t savedValues() const;
  void save(int slot, double* numbers, float* values);
  void restore(int slot, int contextId, const double* numbers, const float* values);
  int observedTokens(int contextId) const { return cache.contexts[contextId].length; }
  void release(int contextId);

  size_t bytes() const { return arena.bytes() + model.bytes(); }
  const Model& weights() const { return model; }
  Pool& threads() { return pool; }
  const Kernels& kernelTable() const { return kernels; }
  const Config& config() const { return model.config; }
  const Capacity capacity;

 private:
  // Positions whose logits are computed at once.
  static constexpr int readPositions = 16;

  bool vocabSpace() const { return model.config.space == Space::vocab; }
  bool residual() const { return model.config.kind == EnergyKind::residual; }
  int block() const { return model.config.block; }
  size_t ld() const { return model.config.ld(); }
  size_t stateLd() const { return model.config.stateLd(); }
  Slot& begunSlot(double index);
  // What is read out of the slot, [K][stateLd].
  const float* answerOf(const Slot& slot, Which which) const;
  void makeSlots();
  // Calls copy(floats of the slot, floats) for each row of what a slot keeps between steps.
  template <class Copy>
  void eachSavedRow(Slot& slot, const Copy& copy);
  void checkDescend(const std::vector<DescendRow>& given);
  void descendOnce(const DescendRow* given, size_t count, RowResult* results);
  void descend(const DescendRow* given, size_t count, RowResult* results, Pass& by);

  void checkObserve(const std::vector<ObserveRow>& given);
  int checkRow(const ObserveRow& row, int length, std::vector<std::pair<int, uint8_t>>& before);
  void observePass(const std::vector<const int*>& tokens, const std::vector<float*>& sums);
  void keepContextDrafts(bool allStates);
  void observeStepTokens();
  int chooseToken(const MultiStepRow& row, int answer);
  void mostProbable(float* logits, int top, int32_t* tokens, float* logProbs);

  Arena arena;
  Pool pool, singleThread{1};
  const Kernels& kernels;
  Model model;
  ContextCache cache;
  // One pass that all threads share, and one for each thread, for batches that give every thread enough work.
  Pass sharedPass;
  std::vector<std::unique_ptr<Pass>> threadPasses;
  std::vector<Slot> slots;

  std::vector<Run> observed;  // of the present pass of observed tokens
  float* runDrafts;           // y_0 after each of those runs, [runs][ld]
  float* runAnchors;          // where opinions correct a draft: A y_0 of those, [runs][ld]
  float* contextDrafts;       // y_0 after each context, [contexts][ld]; null where drafts are not the context's
  float* readLogits;          // [readPositions][V padded]
  std::vector<bool> inBatch;  // [slots]
  std::vector<int> order;     // [V], tokens being ranked
};

}  // namespace basin

// Saving the answer in a slot, and restoring it: what the next step reads, and nothing that it computes anew.
#include <cmath>
#include <cstring>

#include "engine/engine.h"

namespace basin {

namespace {

// Numbers before the clamped tokens, in this order.
enum SavedNumber { contextLength, seedLow, seedHigh, candidate, stateIsAnswer, bestEnergy, embedded, fixedNumbers };

constexpr double embeddings = 3;  // of enum class Embedded

}  // namespace

size_t Engine::savedNumbers() const { return fixedNumbers + size_t(block()); }

size_t Engine::savedValues() const {
  const Config& c = model.config;
  const size_t k = c.block, answer = k * c.stateWidth();
  return 2 * answer + k * c.dim + (vocabSpace() ? k : 0);
}

template <class Copy>
void Engine::eachSavedRow(Slot& slot, const Copy& copy) {
  const size_t k = block(), width = model.config.stateWidth(), dim = model.config.dim;
  for (float* answer : {slot.state, slot.best})
    for (size_t i = 0; i < k; i++) copy(answer + i * stateLd(), width);
  float* rows = vocabSpace() ? slot.e : slot.last;
  for (size_t i = 0; i < k; i++) copy(rows + i * ld(), dim);
  if (vocabSpace()) copy(slot.logSum, k);
}

void Engine::save(int index, double* numbers, float* values) {
  Slot& slot = begunSlot(index);
  numbers[contextLength] = cache.contexts[slot.contextId].length;
  numbers[seedLow] = uint32_t(slot.seed);
  numbers[seedHigh] = uint32_t(slot.seed >> 32);
  numbers[candidate] = slot.candidate;
  numbers[stateIsAnswer] = slot.stateIsAnswer;
  numbers[bestEnergy] = slot.bestEnergy;
  numbers[embedded] = int(slot.embedded);
  for (int i = 0; i < block(); i++) numbers[fixedNumbers + i] = slot.clamped[i];
  eachSavedRow(slot, [&](const float* row, size_t count) {
    memcpy(values, row, sizeof(float) * count);
    values += count;
  });
}

void Engine::restore(int index, int contextId, const double* numbers, const float* values) {
  const Config& c = model.config;
  Slot& slot = slots[indexBelow("slot", index, capacity.slots)];
  indexBelow("contextId", contextId, capacity.contexts);
  const uint64_t low = wordFrom("seed", numbers[seedLow]), high = wordFrom("seed", numbers[seedHigh]);
  const uint32_t savedCandidate = wordFrom("candidate", numbers[candidate]);
  const bool isAnswer = indexBelow("stateIsAnswer", numbers[stateIsAnswer], 2) != 0;
  const Embedded held = Embedded(indexBelow("embedded", numbers[embedded], embeddings));
  if (std::isnan(numbers[bestEnergy])) throw Refusal{"bestEnergy", "a number", numbers[bestEnergy]};
  for (int i = 0; i < block(); i++) indexBelow("clamped", numbers[fixedNumbers + i] + 1, double(c.vocab) + 1);
  cache.contexts[contextId].open = true;
  slot.begun = true;
  slot.contextId = contextId;
  slot.seed = high << 32 | low;
  slot.candidate = savedCandidate;
  slot.stateIsAnswer = isAnswer;
  slot.bestEnergy = numbers[bestEnergy];
  slot.embedded = held;
  slot.clampedQkvLandscape = -1;
  for (int i = 0; i < block(); i++) slot.clamped[i] = int(numbers[fixedNumbers + i]);
  // Padding of rows is zeros since the engine opened, and no step writes anything else there.
  eachSavedRow(slot, [&](float* row, size_t count) {
    memcpy(row, values, sizeof(float) * count);
    values += count;
  });
}

}  // namespace basin

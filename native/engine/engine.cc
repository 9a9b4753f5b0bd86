// Slots: beginning, batching of descents, energies. Contexts are in contexts.cc, a step in descent.cc.
#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace basin {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

size_t rotaryPositions(const Config& c, const Capacity& capacity) {
  const size_t context = std::min<size_t>(c.contextLength, size_t(capacity.pages) * pageSize);
  return context + c.block + c.contextOffset();
}

const Capacity& checked(const Capacity& c) {
  const auto within = [](const char* param, int value, int most) {
    if (value < 1 || value > most) throw Refusal{param, "from 1 to " + std::to_string(most), double(value)};
  };
  within("slots", c.slots, 1 << 16);
  within("contexts", c.contexts, 1 << 20);
  within("pages", c.pages, 1 << 24);
  within("threads", c.threads, 1024);
  return c;
}

constexpr int prefillPositions = 256;
// Positions of a pass that all threads share; of one thread's own pass; and those that make a pass of its own
// worth a thread's while, since each then reads all weights for itself.
constexpr int widePositions = 288, narrowPositions = 96, enoughPositions = 48;

// At least one answer, and no more than there are slots.
int answerPositions(const Config& c, const Capacity& capacity, int wanted) {
  const double all = double(capacity.slots) * c.block;
  return std::max(c.block, int(std::min(all, double(wanted / c.block * c.block))));
}

}  // namespace

Engine::Engine(const Config& config, const Capacity& wanted, const NumberTypes& types, const Kernels& table, const Tensors& tensors)
    : capacity(checked(wanted)),
      pool(capacity.threads),
      kernels(table),
      model(config, types.weights, types.weights == kernels.narrows ? kernels.together : 1, tensors, rotaryPositions(config, capacity)),
      cache(model.config, capacity, types.cache, arena),
      sharedPass(model, kernels, pool, cache, {answerPositions(config, capacity, widePositions), prefillPositions}, arena),
      slots(capacity.slots) {
  const Config& c = model.config;
  const PassCapacity narrow{answerPositions(c, capacity, narrowPositions), 0};
  if (!c.needsGradient())
    for (int t = 0; t < pool.threads(); t++) threadPasses.push_back(std::make_unique<Pass>(model, kernels, singleThread, cache, narrow, arena));
  makeSlots();
  runDrafts = runAnchors = contextDrafts = nullptr;
  if (c.start == Start::context) {
    runDrafts = arena.take<float>(prefillPositions * ld());
    contextDrafts = arena.take<float>(cache.contexts.size() * ld());
    if (c.anchor) {
      runAnchors = arena.take<float>(prefillPositions * ld());
      for (Context& context : cache.contexts) context.anchor = arena.take<float>(ld());
    }
  }
  readLogits = arena.take<float>(size_t(std::min(readPositions, c.block)) * c.vocabPadded());
  observed.reserve(prefillPositions);
  inBatch.resize(slots.size());
  order.resize(c.vocab);
  if (cache.hasStepToken) observeStepTokens();
}

void Engine::makeSlots() {
  const Config& c = model.config;
  const size_t k = c.block, state = k * stateLd(), wide = k * ld();
  for (Slot& slot : slots) {
    slot.clamped = arena.take<int>(k);
    slot.state = arena.take<float>(state);
    slot.best = arena.take<float>(state);
    slot.last = slot.spare = slot.e = slot.logSum = slot.clampedQkv = nullptr;
    if (vocabSpace()) {
      slot.spare = arena.take<float>(state);
      slot.e = arena.take<float>(wide);
      slot.logSum = arena.take<float>(k);
    } else {
      slot.last = arena.take<float>(wide);
    }
    if (!c.needsGradient() && k > 1) slot.clampedQkv = arena.take<float>(k * sharedPass.network.ldQkv);
  }
}

Slot& Engine::begunSlot(double index) {
  Slot& slot = slots[indexBelow("slot", index, capacity.slots)];
  if (!slot.begun) throw Refusal{"slot", "a slot that was begun", index};
  return slot;
}

void Engine::begin(const BeginRow& row) {
  const Config& c = model.config;
  const size_t k = c.block, width = c.stateWidth();
  Slot& slot = slots[indexBelow("slot", row.slot, capacity.slots)];
  indexBelow("contextId", row.contextId, capacity.contexts);
  if (!row.clamped.empty() && row.clamped.size() != k)
    throw Refusal{"clamped", std::to_string(k) + " tokens", double(row.clamped.size())};
  for (const int token : row.clamped) indexBelow("clamped", double(token) + 1, double(c.vocab) + 1);
  if (row.start && row.startCount != k * width)
    throw Refusal{"start", std::to_string(k * width) + " numbers", double(row.startCount)};
  cache.contexts[row.contextId].open = true;
  slot.begun = true;
  slot.contextId = row.contextId;
  slot.seed = row.seed;
  slot.candidate = row.candidate;
  for (size_t i = 0; i < k; i++) slot.clamped[i] = row.clamped.empty() ? -1 : row.clamped[i];
  slot.bestEnergy = infinity;
  slot.embedded = Embedded::no;
  slot.clampedQkvLandscape = -1;
  slot.stateIsAnswer = (c.start == Start::draft || c.start == Start::context) && !row.start;
  memset(slot.state, 0, sizeof(float) * k * stateLd());
  if (row.start) {
    for (size_t i = 0; i < k; i++) memcpy(slot.state + i * stateLd(), row.start + i * width, sizeof(float) * width);
  } else if (c.start == Start::noise) {
    sharedPass.noise(slot, -1, c.startScale, slot.state, slot.state, false);
  } else if (c.start == Start::draft) {
    sharedPass.draft(slot, row.contextId);
  } else if (c.start == Start::context && cache.contexts[row.contextId].length > 0) {
    memcpy(slot.state, contextDrafts + row.contextId * ld(), sizeof(float) * ld());
  }
  if (slot.last) memcpy(slot.last, slot.state, sizeof(float) * k * ld());
}

void Engine::checkDescend(const std::vector<DescendRow>& given) {
  for (const DescendRow& row : given) {
    begunSlot(row.slot);
    indexBelow("landscape", row.landscape, model.config.landscapes);
    if (!std::isfinite(row.noise)) throw Refusal{"noise", "a finite number", row.noise};
    if (row.acceptLower && row.push.any()) throw Refusal{"push", "left out where only lower energies are accepted", 1};
    if (!std::isfinite(row.alpha)) throw Refusal{"stepSize", "a finite number", double(row.alpha)};
  }
}

// Rows of one slot are consecutive steps: a round ends where a slot comes again.
size_t Engine::descend(const std::vector<DescendRow>& given, RowResult* out, const Interrupt& interrupt) {
  checkDescend(given);
  inBatch.assign(capacity.slots, false);
  size_t first = 0;
  for (size_t i = 0; i < given.size(); i++) {
    if (inBatch[given[i].slot]) {
      descendOnce(given.data() + first, i - first, out + first);
      if (interrupt.isRaised()) return i;
      first = i;
      inBatch.assign(capacity.slots, false);
    }
    inBatch[given[i].slot] = true;
  }
  descendOnce(given.data() + first, given.size() - first, out + first);
  return given.size();
}

// Where there is enough work, every thread takes answers of its own through the whole network, so that none
// waits for another; else all threads share every product.
void Engine::descendOnce(const DescendRow* given, size_t count, RowResult* out) {
  if (threadPasses.empty() || count * block() < size_t(pool.threads()) * enoughPositions)
    return descend(given, count, out, sharedPass);
  const size_t most = threadPasses[0]->network.capacity.answers / block(), threads = pool.threads();
  const size_t groups = ((count + most - 1) / most + threads - 1) / threads * threads;
  pool.run(int(groups), [&](int group, int thread) {
    const size_t from = count * group / groups, to = count * (group + 1) / groups;
    descend(given + from, to - from, out + from, *threadPasses[thread]);
  });
}

void Engine::descend(const DescendRow* given, size_t count, RowResult* out, Pass& by) {
  size_t first = 0;
  by.start();
  for (size_t i = 0; i < count; i++) {
    if (!by.fits(block())) {
      by.step(out + first);
      first = i;
      by.start();
    }
    const DescendRow& row = given[i];
    PassRow r{};
    r.slot = &slots[row.slot];
    r.z = r.slot->state;
    r.normalized = model.config.normalizes(row.step == 0);
    r.alpha = row.alpha;
    r.noise = row.noise;
    r.step = row.step;
    r.acceptLower = row.acceptLower;
    r.push = row.push;
    by.add(r, r.slot->contextId, row.landscape, block());
  }
  if (!by.answers().empty()) by.step(out + first);
}

void Engine::energy(const std::vector<EnergyRow>& given, RowResult* out) {
  for (const EnergyRow& row : given) {
    indexBelow("landscape", row.landscape, model.config.landscapes);
    if (row.slot >= 0) {
      begunSlot(row.slot);
      continue;
    }
    indexBelow("contextId", row.contextId, capacity.contexts);
    for (const int token : row.answer) indexBelow("answer", token, model.config.vocab);
    if (row.answer.empty() || row.answer.size() > size_t(block()))
      throw Refusal{"answer", "1 to " + std::to_string(block()) + " tokens", double(row.answer.size())};
  }
  size_t first = 0;
  const auto flush = [&](size_t next) {
    const std::vector<PassRow>& rows = sharedPass.answers();
    const RowResult* results = rows.empty() ? nullptr : sharedPass.evaluate().data();
    for (size_t i = 0; i < rows.size(); i++) {
      Slot* slot = rows[i].slot;
      RowResult result = results[i];
      result.best = result.energy;
      if (slot && slot->stateIsAnswer && !residual() && result.energy < slot->bestEnergy) {
        slot->bestEnergy = result.energy;
        memcpy(slot->best, slot->state, sizeof(float) * block() * stateLd());
      }
      if (slot) result.best = slot->bestEnergy;
      out[first + i] = result;
    }
    first = next;
    sharedPass.start();
  };
  sharedPass.start();
  for (size_t i = 0; i < given.size(); i++) {
    const EnergyRow& row = given[i];
    const int positions = row.slot >= 0 ? block() : int(row.answer.size());
    if (!sharedPass.fits(positions)) flush(i);
    PassRow r{};
    if (row.slot >= 0) {
      r.slot = &slots[row.slot];
      r.z = r.slot->state;
      r.normalized = model.config.normalizes(!r.slot->stateIsAnswer);
      sharedPass.add(r, r.slot->contextId, row.landscape, positions);
    } else {
      r.tokens = row.answer.data();
      sharedPass.add(r, row.contextId, row.landscape, positions);
    }
  }
  flush(given.size());
}

void Engine::presentPoint(int index, float* out) {
  const Slot& slot = begunSlot(index);
  const size_t width = model.config.stateWidth();
  for (int i = 0; i < block(); i++) memcpy(out + i * width, slot.state + i * stateLd(), sizeof(float) * width);
}

void Engine::release(int contextId) {
  if (contextId < 0 || contextId >= capacity.contexts) return;
  cache.contexts[contextId].open = false;
  cache.contexts[contextId].length = 0;
  cache.contexts[contextId].pages.clear();
  for (Slot& slot : slots)
    if (slot.begun && slot.contextId == contextId) slot.begun = false;
}

}  // namespace basin

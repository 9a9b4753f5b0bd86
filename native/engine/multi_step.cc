// Several answers in one call, for models whose answers are one position: observe, begin, descend, read and
// the choice of the token for each, without a return to JavaScript in between.
#include "engine/engine.h"

#include <chrono>
#include <cmath>

namespace basin {

namespace {

// Streams of random numbers, as in src/refine: draws (sampling.ts) and the seeds of answers (candidates.ts).
constexpr uint32_t drawStream = 0, answerStream = 1;

bool finite(const RowResult* results, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!std::isfinite(results[i].energy) || !std::isfinite(results[i].best)) return false;
  return true;
}

}  // namespace

// The token of the answer in the slot; -1 where the read-out is not finite.
int Engine::chooseToken(const MultiStepRow& row, int answer) {
  const int slot = row.steps[0].slot;
  const Which which = row.best ? Which::best : Which::last;
  int32_t token = 0;
  if (row.temperature > 0) {
    const double draw = (wordOf(row.seed, drawStream, row.draw + answer) + 0.5) / 4294967296.0;
    read(slot, which, 0, row.temperature, &token, nullptr, nullptr, &draw);
    return token;
  }
  float logProb = 0;
  read(slot, which, 1, 0, &token, &logProb, nullptr);
  return std::isfinite(logProb) ? token : -1;
}

int Engine::multiStep(MultiStepRow row, double* out, const Interrupt& interrupt) {
  using Clock = std::chrono::steady_clock;
  if (block() != 1) throw Refusal{"block", "1 where a call takes several answers", double(block())};
  if (row.steps.empty()) throw Refusal{"steps", "at least one step", 0};
  const auto began = Clock::now();
  auto then = began;
  const auto passed = [&] {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - then).count();
    then = now;
    return seconds;
  };
  BeginRow begun{};
  begun.slot = row.steps[0].slot;
  begun.contextId = row.observe.contextId;
  const size_t width = row.width();
  for (int i = 0; i < row.most; i++, out += width) {
    const bool late = std::chrono::duration<double>(then - began).count() >= row.seconds;
    if (i > 0 && (late || interrupt.isRaised())) return i;
    MultiStepAnswer& answer = *reinterpret_cast<MultiStepAnswer*>(out);
    RowResult* results = reinterpret_cast<RowResult*>(out + sizeof(MultiStepAnswer) / sizeof(double));
    observe({row.observe});
    answer.observe = passed();
    begun.seed = wordOf(row.seed, answerStream, row.answer + i);
    begin(begun);
    descend(row.steps, results);
    answer.descend = passed();
    if (!finite(results, row.steps.size())) return i;
    const int token = chooseToken(row, i);
    answer.read = passed();
    if (token < 0) return i;
    answer.token = token;
    if (token == row.end) return i + 1;
    row.observe.tokens[0] = token;
    row.observe.from++;
  }
  return row.most;
}

}  // namespace basin

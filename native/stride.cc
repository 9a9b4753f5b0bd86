// Answers in a row, of models whose answers are one position: what observe, begin, descend and read do
// for each, and the choice of its token, without a return to JavaScript in between.
#include "engine.h"

#include <chrono>
#include <cmath>

namespace basin {

namespace {

// Streams of src/refine: of draws (sampling.ts) and of the seeds of answers (candidates.ts).
constexpr uint32_t drawStream = 0, answerStream = 1;

bool finite(const RowResult* results, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!std::isfinite(results[i].energy) || !std::isfinite(results[i].best)) return false;
  return true;
}

}  // namespace

// The token of the answer in the slot, or -1.
int Engine::choose(const StrideRow& row, int answer) {
  const int slot = row.steps[0].slot;
  int32_t token = 0;
  if (row.temperature > 0) {
    const double chance = (wordOf(row.seed, drawStream, row.draw + answer) + 0.5) / 4294967296.0;
    read(slot, row.best, 0, row.temperature, &token, nullptr, nullptr, &chance);
    return token;
  }
  float logProb = 0;
  read(slot, row.best, 1, 0, &token, &logProb, nullptr);
  return std::isfinite(logProb) ? token : -1;
}

int Engine::stride(StrideRow row, double* out, const Bell& bell) {
  using Clock = std::chrono::steady_clock;
  if (block() != 1) throw Refusal{"block", "1 for answers in a row", double(block())};
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
  begun.sequence = row.observe.sequence;
  const size_t width = row.width();
  for (int i = 0; i < row.most; i++, out += width) {
    const bool late = std::chrono::duration<double>(then - began).count() >= row.seconds;
    if (i > 0 && (late || bell.rings())) return i;
    StrideAnswer& told = *reinterpret_cast<StrideAnswer*>(out);
    RowResult* results = reinterpret_cast<RowResult*>(out + sizeof(StrideAnswer) / sizeof(double));
    observe({row.observe});
    told.observe = passed();
    begun.seed = wordOf(row.seed, answerStream, row.answer + i);
    begin(begun);
    descend(row.steps, results);
    told.descend = passed();
    if (!finite(results, row.steps.size())) return i;
    const int token = choose(row, i);
    told.read = passed();
    if (token < 0) return i;
    told.token = token;
    if (token == row.end) return i + 1;
    row.observe.tokens[0] = token;
    row.observe.from++;
  }
  return row.most;
}

}  // namespace basin

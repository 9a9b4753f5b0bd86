// The state of one answer, kept between steps, and what a step says of it.
#pragma once
#include <cstdint>

namespace basin {

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
  // Without a gradient: what the first layer makes of clamped positions, [K][ldQkv], which no step
  // changes; of the landscape it holds for, or -1.
  float* known;
  int knownLandscape = -1;
};

struct RowResult {
  double energy, gradientNorm, best, disagreement, doubt;
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

  bool moves(int position) const { return !slot || slot->clamped[position] < 0; }
};

}  // namespace basin

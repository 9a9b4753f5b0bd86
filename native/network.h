// The transformer of docs/mathematics.md over the kernels: candidate positions forward and back,
// observed tokens into the cache. A pass is up to `positionsPerPass` positions of any rows at once;
// what a position computes depends on its own row alone, so passes may be cut anywhere.
#pragma once
#include <vector>
#include "cache.h"
#include "model.h"
#include "pool.h"

namespace basin {

// Positions of one answer, or a run of observed tokens.
struct Run {
  int sequence;
  int landscape;
  int first;      // index of its first position in the pass
  int positions;
  int context;    // observed tokens before its first position
};

// Of which observed positions `output()` is wanted: norm(h) after the last layer.
enum class Ends { none, last, all };

// Positions that one pass of answers, or of observed tokens, may have.
struct Room {
  int answers, observed;
};

// Of answers whose gradient nobody needs: which positions must be computed where. A clamped position
// of the first layer depends on nothing that moves, so its q, k and v are kept from step to step; of
// the last layer it is wanted as a key and a value only.
struct Selection {
  struct Kept {
    int position;
    float* qkv;  // [ldQkv]
  };
  std::vector<int> moving;          // in order
  std::vector<int> entering;        // in order: those whose q, k and v of the first layer are not kept yet
  std::vector<Kept> toKeep, known;  // clamped positions: of `entering`, and not
  std::vector<uint8_t> moves;       // by position

  void reserve(size_t positions) {
    moving.reserve(positions), entering.reserve(positions), moves.reserve(positions);
    toKeep.reserve(positions), known.reserve(positions);
  }
  void clear() { moving.clear(), entering.clear(), toKeep.clear(), known.clear(), moves.clear(); }
  // `qkv`: where they are kept, or null; `fresh`: whether they are there.
  void add(int position, bool isMoving, float* qkv, bool fresh) {
    moves.push_back(isMoving);
    if (isMoving) moving.push_back(position);
    if (qkv && fresh) return known.push_back({position, qkv});
    entering.push_back(position);
    if (qkv) toKeep.push_back({position, qkv});
  }
};

class Network {
 public:
  Network(const Model& model, const Kernels& kernels, Pool& pool, Cache& cache, Room room, Arena& arena);

  const Room room;

  float* input() { return layer(0).x; }  // [positions][ld], filled by the caller
  // norm(h), adaptive with adaLN: [positions][ld], or of the moving ones alone, [moving][ld].
  const float* output() const { return final; }

  // `only`: not where a gradient follows, nor with adaLN, which the one energy without a gradient refuses.
  void forward(const std::vector<Run>& runs, const Selection* only = nullptr);
  // From d/d output in `slope()` to d/d input, in `slope()` too. Follows a `forward` of the same runs.
  void backward(const std::vector<Run>& runs);
  float* slope() { return dx; }

  // Appends the runs, their embeddings in `input()`, to cache `landscape` of their sequences. With
  // `ends`, `output()` holds norm(h) at the last position of each run, [runs][ld].
  void observe(const std::vector<Run>& runs, bool asSink, Ends ends = Ends::none);

  // y = x W^T (+ add), x [rows][ldx], y [rows][ldy].
  void multiply(const Matrix& w, const float* x, int ldx, int rows, float* y, int ldy, const float* add);

 private:
  // What one layer keeps of a pass. The gradient needs it of all layers; else they share one, as
  // the observed stream always does.
  struct Saved {
    float *x, *qkv, *mixed, *logSum, *h, *gates, *inverse1, *inverse2;
  };
  // One thread's room for one head of one answer.
  struct Scratch {
    float *ownKeys, *ownValues, *dOwnKeys, *dOwnValues;
    float *q, *out, *dout, *dq, *lanesOfDq, *scores, *narrow, *logSum;
    KeyBlock* blocks;
  };

  Saved& layer(int i) { return saved[gradient ? i : 0]; }
  int positionsOf(const std::vector<Run>& runs) const;
  void modulations(const std::vector<Run>& runs, const float* table, int parts, int shift, int scale, int gate);
  void normalize(const float* x, const float* weight, int rows, float* inverse, float* y, bool adaptive);
  void normalizeBack(const float* x, const float* weight, int rows, const float* inverse, bool adaptive);
  const float* gated(const float* x, int rows);
  void project(Saved& l, const Layer& w, int rows);
  void projectFirst(const Selection& only);
  // With `only`, of the positions that move.
  void mix(const std::vector<Run>& runs, int index, const Selection* only);
  void mixRun(const Run& run, int index, int head, const Selection* only, Scratch& s);
  void mixBack(const std::vector<Run>& runs, int index);
  void mixRunBack(const Run& run, int index, int head, Scratch& s);
  int gatherOwn(const Run& run, int index, int head, Scratch& s);
  void remember(const Run& run, int index, int head, bool asSink, Scratch& s);
  void mixObserved(const Run& run, int index, int head, int from, bool asSink, Scratch& s);
  int onlyWanted(Saved& l, const std::vector<int>& wanted);
  void feedForward(Saved& l, int index, int rows, float* next);
  Head slice(float* qkv, const Run& run, int from, int count, int part, int head, float factor, float* narrow) const;
  Attention attention(Scratch& s, int blocks, int context, int queries) const;

  const Model& model;
  const Config& config;
  const Kernels& kernels;
  Pool& pool;
  Cache& cache;
  const bool gradient;
  const bool adaln;

 public:
  const int ld, ldQkv;

 private:
  const int ldGates, ldFfn;
  std::vector<Saved> saved;
  std::vector<Scratch> scratch;
  float *final, *finalInverse, *last;
  float *normed, *hidden, *temporary, *prescaled;
  float *dx, *dWide, *dHidden;
  std::vector<const float*> shifts, scales, gates;
  std::vector<int> lastOfRuns;
};

}  // namespace basin

// The transformer of docs/mathematics.md over the kernels: candidate positions forward and backward, and
// observed tokens into the cache. A pass takes positions of any rows at once, as many as its PassCapacity
// allows; what a position computes depends on its own row alone, so a batch may be cut anywhere.
#pragma once
#include <vector>
#include "model/context_cache.h"
#include "model/model.h"
#include "runtime/pool.h"

namespace basin {

// Positions of one answer, or a run of observed tokens.
struct Run {
  int contextId;
  int landscape;
  int first;      // index of its first position in the pass
  int positions;
  int before;     // observed tokens before its first position
};

// At which observed positions `output()`, norm(h) after the last layer, is wanted.
enum class FinalStates { none, last, all };

// The most positions of one pass of answers, and of one pass of observed tokens.
struct PassCapacity {
  int answers, observed;
};

// Which positions must be computed, for answers that descend without a gradient. In the first layer a
// clamped position depends on nothing that moves, so its q, k and v are stored from step to step; in the
// last layer it serves as a key and a value only.
struct Selection {
  struct ClampedQkv {
    int position;
    float* qkv;  // [ldQkv]
  };
  std::vector<int> moving;           // positions in order
  std::vector<int> computed;         // positions in order whose q, k and v of the first layer are not stored yet
  std::vector<ClampedQkv> toStore;   // clamped positions among `computed`
  std::vector<ClampedQkv> stored;    // clamped positions that are not
  std::vector<uint8_t> moves;        // [positions]

  void reserve(size_t positions) {
    moving.reserve(positions), computed.reserve(positions), moves.reserve(positions);
    toStore.reserve(positions), stored.reserve(positions);
  }
  void clear() { moving.clear(), computed.clear(), toStore.clear(), stored.clear(), moves.clear(); }
  // `qkv` [ldQkv]: where q, k and v are stored, or null; `isStored`: whether they are there already.
  void add(int position, bool isMoving, float* qkv, bool isStored) {
    moves.push_back(isMoving);
    if (isMoving) moving.push_back(position);
    if (qkv && isStored) return stored.push_back({position, qkv});
    computed.push_back(position);
    if (qkv) toStore.push_back({position, qkv});
  }
};

class Network {
 public:
  Network(const Model& model, const Kernels& kernels, Pool& pool, ContextCache& cache, PassCapacity capacity, Arena& arena);

  const PassCapacity capacity;

  float* input() { return layer(0).x; }  // [positions][ld], filled by the caller
  // norm(h), adaptive with adaLN: [positions][ld], or with a selection [moving][ld].
  const float* output() const { return final; }

  // `only` must be null where a gradient follows and with adaLN, which energies without a gradient refuse.
  void forward(const std::vector<Run>& runs, const Selection* only = nullptr);
  // From d/d output in `slope()` to d/d input, in `slope()` too. It follows a `forward` of the same runs.
  void backward(const std::vector<Run>& runs);
  float* slope() { return dx; }  // [positions][ld]

  // Appends the runs, whose embeddings are in `input()`, to the cache of their landscape. Then `output()`
  // holds norm(h) at every position, [positions][ld], or at the last position of each run, [runs][ld].
  void observe(const std::vector<Run>& runs, bool asStepToken, FinalStates wanted = FinalStates::none);

  // Rows of inputs as a product takes them, or of a copy that is valid until the next call of `inputOf`.
  struct Input {
    const char* x;         // [rows][rowBytes]
    size_t rowBytes;
    const Scaled* scaled;  // [rows]; null where Kernels narrows to no int8

    // Of the rows from `row` on, for `m`.
    void enter(Matmul& m, int row) const {
      m.x = x + row * rowBytes;
      m.scaled = scaled ? scaled + row : nullptr;
    }
  };
  Input inputOf(const Matrix& w, const float* x, int ldx, int rows);
  // y = x W^T (+ add), x [rows][ldx], y [rows][ldy].
  void multiply(const Matrix& w, const float* x, int ldx, int rows, float* y, int ldy, const float* add);

 private:
  // The activations of one layer. The gradient needs those of all layers; without one all layers share
  // the first, as the observed stream always does.
  struct Activations {
    float* x;         // input of the layer, [positions][ld]
    float* qkv;       // [positions][ldQkv]
    float* attended;  // output of attention before wo, [positions][ld]
    float* logSum;    // log of the sum of exp(scores), [positions][heads]
    float* h;         // after attention and its residual connection, [positions][ld]
    float* gates;     // both halves of SwiGLU, [positions][ldGates]
    float *inverse1, *inverse2;  // 1 / root mean square of x and of h, [positions]
  };
  // Consecutive runs of one context whose attention is one task.
  struct Group {
    int from, count;
  };
  // What one thread needs for one head of a group. Own blocks are those of the answers' K positions.
  struct Scratch {
    float *ownKeys, *dOwnKeys;      // [own blocks][d][16]
    float *ownValues, *dOwnValues;  // [own blocks][16][dp]
    float *q, *out, *dout, *dq;     // [queries][dp]
    float* lanesOfDq;               // [queries][dp][16]
    float* scores;                  // [queries][16 blocks]
    float *narrow, *narrowValues;   // one head of K positions, or of a page, [K or 16][dp]
    float* logSum;                  // [queries]
    KeyBlock *context, *own;        // [blocks]
  };
  // A query of an answer: its run, and its position in it.
  struct Query {
    const Run* run;
    int position;
  };

  Activations& layer(int i) { return activations[gradient ? i : 0]; }
  int positionsOf(const std::vector<Run>& runs) const;
  void modulations(const std::vector<Run>& runs, const float* table, int parts, int shift, int scale, int gate);
  void normalize(const float* x, const float* weight, int rows, float* inverse, float* y, bool adaptive);
  Norm normOf(const float* x, const float* weight, float* inverse, int from, int count, bool adaptive) const;
  void normalizeBack(const float* x, const float* weight, int rows, float* inverse, bool adaptive);
  Gate gateOf(const Activations& l, int from, int count) const;
  const float* gated(const float* x, int rows);
  void project(Activations& l, const Layer& w, int rows);
  void projectFirst(const Selection& only);
  void groupRuns(const std::vector<Run>& runs);
  int gatherContext(const Run& run, int index, int head, Scratch& s);
  int gatherOwn(const Run& run, int index, int head, int slot, Scratch& s);
  template <class Gather, class Attend>
  void eachFour(const Run* runs, int count, const Selection* only, const Gather& gather, const Attend& attend);
  // With `only`, queries are those of the positions that move.
  void attend(const std::vector<Run>& runs, int index, const Selection* only);
  void attendHead(const Run* runs, int count, int index, int head, const Selection* only, Scratch& s);
  void attendGradient(const std::vector<Run>& runs, int index);
  void attendHeadGradient(const Run* runs, int count, int index, int head, Scratch& s);
  void scatterOwn(const Run& run, int head, int slot, Scratch& s);
  void storeKeysValues(const Run& run, int index, int head, bool asStepToken, Scratch& s);
  void attendObserved(const Run& run, int index, int head, int from, bool asStepToken, Scratch& s);
  int moveToFront(Activations& l, const std::vector<int>& wanted);
  void feedForward(Activations& l, int index, int rows, float* next);
  Head headOf(float* qkv, const Run& run, int from, int count, int part, int head, float factor, float* narrow) const;
  // `context`, `own`: blocks of the context, and of each answer; `ofSeveral`: whether each query is of another answer.
  Attention attention(Scratch& s, int queries, int context, int own, bool ofSeveral) const;

  const Model& model;
  const Config& config;
  const Kernels& kernels;
  Pool& pool;
  ContextCache& cache;
  const bool gradient;
  const bool adaln;

 public:
  const int ld, ldQkv;

 private:
  const int ldGates, ldFfn;
  std::vector<Activations> activations;  // [layers], or one
  std::vector<Scratch> scratch;          // by thread
  std::vector<Group> groups;             // of the present pass
  float* last;          // output of the last layer, [positions][ld]
  float* final;         // norm of it, [positions][ld]
  float* finalInverse;  // [positions]
  float* normed;        // input of a product, or the gradient behind one, [positions][ld]
  float* hidden;        // [positions][ldFfn]
  float* temporary;     // [positions][ld]
  float* prescaled;     // int8 with a gradient: rows times the scales of inputs, [positions][widest]
  char* narrowed;       // rows as Kernels narrows them, [positions][widest]
  Scaled* scaled;       // of those in int8, [positions]
  float* dx;            // [positions][ld]
  float* dWide;         // gradient of qkv or of the gates, [positions][ldQkv or ldGates]
  float* dHidden;       // [positions][ldFfn or ld]
  std::vector<const float*> shifts, scales, gates;  // adaLN: by position, [ld] each
  std::vector<int> lastOfRuns;
};

}  // namespace basin

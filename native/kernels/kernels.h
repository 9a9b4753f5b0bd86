// The table of kernels. One table for each instruction set; kernels.cc is compiled once for each.
// Kernels know shapes and pointers: no model, no slot, no thread, and no N-API.
//
// Widths are padded: every row of activations is a multiple of `lanes` floats, and the padding is zeros.
#pragma once
#include <cstddef>
#include <cstdint>

namespace basin {

constexpr int lanes = 16;
// Columns of a packed tile, and vocabulary rows handled together.
constexpr int tileWidth = 32;
// Positions of a cache page: the lanes of one vector of attention scores.
constexpr int pageSize = 16;
// Vocabulary rows of one chunk, which is the unit of work and of merging. Its order of summation is fixed.
constexpr int vocabChunk = 512;

enum class WeightType { f32, bf16, int8 };
constexpr int weightTypes = 3;

struct Matmul {
  const void* x;  // [rows][ldx], float32; bf16 where bf16 products are paired
  int ldx, rows;
  const void* tiles;  // [count][k][tileWidth]; paired: [count][k / 2][tileWidth][2]
  int k, count;
  const float* scale;  // [count * tileWidth], or null for 1
  const float* add;    // [rows][ldy], may be y; or null for 0
  float* y;            // [rows][ldy]
  int ldy;
};

struct Norm {
  const float* x;  // [rows][ld]
  int ld, rows, width;
  const float* weight;  // [width padded]
  float eps;
  const float* const* shift;  // [rows], each [width padded]; null without adaLN
  const float* const* scale;  // as `shift`
  float* inverse;             // [rows]: 1 / root mean square; the gradient reads it
  float* y;                   // [rows][ld]; of the gradient: d/dx is added to it
  const float* dy;            // gradient only: d/dy, [rows][ld]
};

struct Gate {
  const float* a;  // [rows][lda]: a in the first `width` columns, b in the next
  int lda, rows, width;
  float* y;         // [rows][ldy]: silu(a) b
  int ldy;
  const float* dy;  // gradient only: [rows][ldy]
  float* da;        // gradient only: [rows][lda], as `a`
};

// One head of a run of positions: its columns of the rows of q, k or v, and the same as attention reads them.
struct Head {
  float* wide;  // [count][ld]: this head's d columns of wider rows
  int ld, count;
  int d, dp;
  const float* cos;  // [count][dp] from the first position on, zeros past d; null: no rotation
  const float* sin;  // as `cos`; negative in the first of each pair
  float factor;
  float* narrow;  // [count][dp]
};

// Sixteen positions of one head.
struct KeyBlock {
  const float* keys;    // [d][16], rotated
  const float* values;  // [16][dp]
  int count;            // positions that exist
};

constexpr int attentionQueries = 4;

struct Attention {
  const float* q;  // [queries][dp], rotated and scaled
  int queries;     // 1..attentionQueries
  int d, dp;
  const KeyBlock* blocks;
  int blockCount;
  int contextBlocks;  // blocks of the context among them, which come from memory
  const int* limit;  // [queries]: a query attends to lane i of block b where 16 b + i < limit
  float* scores;     // [queries][16 blockCount], scratch
  float* out;        // [queries][dp]
  float* logSum;     // [queries]: log of the sum of exp(scores), for the gradient; or null
  // Gradient only.
  const float* dout;  // [queries][dp]
  float* dq;          // [queries][dp]
  float* lanesOfDq;   // [attentionQueries][d][16], scratch
  int ownFrom;        // blocks from here on belong to the answer: they get gradients
  float* dkeys;       // [own blocks][d][16], added to
  float* dvalues;     // [own blocks][16][dp], added to
};

struct Vocab {
  const void* table;       // [V padded to tileWidth][ld]: row v is the embedding of token v
  const float* rowScale;   // [V padded], or null for 1
  int ld;                  // D padded
  int from, to, size;      // rows of this chunk; V
  int rows;                // answer positions R
  const float* const* in;  // [R]: z [V padded]
  float* const* out;       // [R]: z after the step; ignored by `vocabEmbed`
  const float* logSum;     // [R]: p = exp(z - logSum); ignored where not normalizedIn
  const float* alpha;      // [R]
  const float* g;          // [R][ld]: dE/de; ignored by `vocabEmbed`
  const uint16_t* gNarrow; // as `g`, in bf16; only where bf16 products are paired
  bool normalizedIn, normalizedOut;
  float* weights;  // [R][tileWidth], scratch
  uint16_t* weightsNarrow;  // as `weights`; only where bf16 products are paired
  // Results of this chunk, for merging.
  float* e;        // [R][ld]: sum of w_v W_v with w = exp(z - top), or z where not normalizedOut
  float* top;      // [R]: largest z
  float* total;    // [R]: sum of exp(z - top)
  float* squares;  // [R]: sum of squares of <g, W_v>
};

// Softmax statistics of a run of logits: largest z, S = sum exp(z - m), T = sum exp(z - m) (z - m).
struct Entropy {
  const float* logits;  // [rows][ld]
  int ld, rows, count;
  float* top;     // [rows]
  float* total;   // [rows]
  float* moment;  // [rows]
};

struct Kernels {
  const char* name;
  void (*matmul[weightTypes])(const Matmul&);
  // Rounds n floats to bf16, n a multiple of lanes. Null where bf16 products are not paired: there weights are
  // widened to float32 and inputs stay as they are.
  void (*narrow)(const float* x, uint16_t* y, size_t n);
  void (*norm)(const Norm&);
  void (*normGradient)(const Norm&);
  void (*gate)(const Gate&);
  void (*gateGradient)(const Gate&);
  void (*rotate)(const Head&);      // narrow = factor * rotation of wide
  void (*rotateBack)(const Head&);  // wide = its transpose applied to narrow
  void (*attention)(const Attention&);
  void (*attentionGradient)(const Attention&);
  void (*vocabEmbed[weightTypes])(const Vocab&);
  void (*vocabUpdate[weightTypes])(const Vocab&);
  void (*entropy)(const Entropy&);
  // z <- exp((z - largest z) / temperature), [count], in room for a multiple of lanes.
  void (*weigh)(float* z, int count, float temperature);
  // Runs of n floats, n a multiple of lanes.
  void (*fma)(const float* a, float factor, const float* b, float* y, size_t n);  // y = a + factor b
  void (*multiply)(const float* a, const float* b, float* y, size_t n);              // y = a b
  void (*addProduct)(const float* a, const float* b, const float* c, float* y, size_t n);  // y = a + b c
  float (*dot)(const float* a, const float* b, size_t n);
  // Multiply-adds of `rounds` rounds, of 2 * fmaPerRound * lanes operations each.
  float (*fmaRounds)(size_t rounds);
  float (*readSum)(const float* data, size_t n);
};
constexpr int fmaPerRound = 24;

#if defined(__x86_64__)
namespace avx512bf16 { extern const Kernels table; }
namespace avx512 { extern const Kernels table; }
namespace avx2 { extern const Kernels table; }
#endif
namespace baseline { extern const Kernels table; }

enum class InstructionSet { baseline, avx2, avx512 };

// The widest that this machine can run; `wanted` ("avx512", "avx2", "baseline") caps it, for tests.
InstructionSet widestInstructionSet(const char* wanted);

// The table for products with weights of that type: on a machine that multiplies pairs of bf16 numbers, bf16 has
// a table of its own ("avx512bf16").
const Kernels& chooseKernels(const char* wanted, WeightType type);

}  // namespace basin

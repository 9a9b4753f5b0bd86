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

// What weights and the context cache are held in.
enum class NumberType { f32, bf16, int8 };
constexpr int numberTypes = 3;

// A row of float32 numbers in int8: they are `scale` times those. The weights that it is multiplied with are stored with
// 128 added to them; `offset`, 128 times the sum of the row, is what that adds to a product.
struct Scaled {
  float scale;
  int32_t offset;
};

struct Matmul {
  const void* x;  // [rows][ldx], float32, or narrowed as Kernels says
  const Scaled* scaled;  // [rows]: of x in int8
  int ldx, rows;
  const void* tiles;  // [count][k][tileWidth]; T inputs together: [count][k / T][tileWidth][T]
  int k, count;
  const void* ahead;  // the tile that the thread takes next, which is fetched; or null
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
  const void* keys;     // [d][16], rotated
  const void* values;   // [16][dp]
  const float* scales;  // int8: [16] of the keys, then [16] of the values
  int count;            // positions that exist
};

constexpr int attentionQueries = 4;

struct Attention {
  const float* q;  // [queries][dp], rotated and scaled
  int queries;     // 1..attentionQueries
  int d, dp;
  const KeyBlock* context;  // [contextCount], in the type of the cache; all queries attend to them
  int contextCount;
  const KeyBlock* own;  // [ownCount], float32: the positions of the answer
  int ownCount;
  int ownStride;     // blocks from those of one query to those of the next; 0: the queries share them
  const int* limit;  // [queries]: a query attends to lane i of block b where 16 b + i < limit; or null
  float* scores;     // [queries][16 (contextCount + ownCount)], scratch
  float* out;        // [queries][dp]
  float* logSum;     // [queries]: log of the sum of exp(scores), for the gradient; or null
  // Gradient only.
  const float* dout;  // [queries][dp]
  float* dq;          // [queries][dp]
  float* lanesOfDq;   // [attentionQueries][dp][16], scratch
  float* dkeys;       // of own blocks, as they lie: [d][16] each, added to
  float* dvalues;     // of own blocks, as they lie: [16][dp] each, added to
};

struct Vocab {
  const void* table;       // [V padded to tileWidth][ldTable]: row v is the embedding of token v
  const float* rowScale;   // [V padded], or null for 1
  int ld;                  // D padded
  int ldTable;             // ld padded to a vector of inputs of products, together as Kernels says
  int from, to, size;      // rows of this chunk; V
  int rows;                // answer positions R
  const float* const* in;  // [R]: z [V padded]
  float* const* out;       // [R]: z after the step; ignored by `vocabEmbed`
  const float* logSum;     // [R]: p = exp(z - logSum); ignored where not normalizedIn
  const float* alpha;      // [R]
  const void* g;           // [R][ldTable]: dE/de, float32 or narrowed as Kernels says; ignored by `vocabEmbed`
  const Scaled* gScaled;   // [R]: of g in int8
  bool normalizedIn, normalizedOut;
  // Scratch.
  float* weights;         // [R][tileWidth]
  float* lanesOfSquares;  // [R][lanes]
  // Of narrowed inputs only.
  void* narrowWeights;    // [R][tileWidth]
  Scaled* scaledWeights;  // [R]
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
  void (*matmul[numberTypes])(const Matmul&);
  // How many inputs products with weights of `narrows` multiply at once: 2 bf16 numbers, or 4 int8 numbers; 1 where they
  // widen weights to float32. Else inputs are rounded to that type by `narrow`, n numbers, n a multiple of lanes.
  int together;
  NumberType narrows;
  Scaled (*narrow)(const float* x, void* y, size_t n);
  void (*norm)(const Norm&);
  void (*normGradient)(const Norm&);
  void (*gate)(const Gate&);
  void (*gateGradient)(const Gate&);
  void (*rotate)(const Head&);      // narrow = factor * rotation of wide
  void (*rotateBack)(const Head&);  // wide = its transpose applied to narrow
  // By the type of the context's blocks.
  void (*attention[numberTypes])(const Attention&);
  void (*attentionGradient[numberTypes])(const Attention&);
  void (*vocabEmbed[numberTypes])(const Vocab&);
  void (*vocabUpdate[numberTypes])(const Vocab&);
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
namespace avx512vnni { extern const Kernels table; }
namespace avx2vnni { extern const Kernels table; }
namespace avx512 { extern const Kernels table; }
namespace avx2 { extern const Kernels table; }
#endif
namespace baseline { extern const Kernels table; }

enum class InstructionSet { baseline, avx2, avx512 };

// The widest that this machine can run; `wanted` ("avx512", "avx2", "baseline") caps it, for tests.
InstructionSet widestInstructionSet(const char* wanted);

// The table for products with weights of that type: on a machine that multiplies pairs of bf16 numbers or fours of int8
// numbers, those types have tables of their own ("avx512bf16", "avx512vnni", "avx2vnni").
const Kernels& chooseKernels(const char* wanted, NumberType type);

}  // namespace basin

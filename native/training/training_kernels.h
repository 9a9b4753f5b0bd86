// The kernels of training, which compute the ops of TensorFlow.js. There is one table for each instruction set,
// as in native/kernels/kernels.h. Kernels know pointers and lengths: no tensor, no thread, no N-API.
//
// Rows may have any length; nothing is read or written past their end.
#pragma once
#include <cstddef>
#include <cstdint>

namespace basin {

// These lists have the order of those in src/energy/tfjs/addon-backend/calls.ts.
enum class Unary {
  negate, absolute, square, squareRoot, inverseRoot, exp, log, sigmoid, tanh, relu, step, reciprocal, sign, clip,
  floor, ceil, round, log1p, expm1, softplus, sin, cos, erf, elu, scale, count
};
enum class Binary {
  add, subtract, multiply, divide, maximum, minimum, squaredDifference,  // of the type of the operands
  power,                                                                 // float32
  equal, notEqual, less, lessEqual, greater, greaterEqual,               // bool
  logicalAnd, logicalOr,                                                 // bool of bool
  count
};
enum class Reduce { sum, max, min, count };
enum class Type { float32, int32, boolean, count };

// Which operand of a run is one number, repeated.
enum class Repeat { none, first, second };

// Rows of a packed panel of A; columns of a tile of B.
constexpr int panelRows = 12, tileColumns = 32;

// y [rows][ldy] (+)= a b: one panel [k][panelRows], one tile [k][tileColumns].
struct Product {
  const float* a;  // [k][panelRows]
  const float* b;  // [k][tileColumns]
  int k;
  float* y;        // [rows][ldy]
  size_t ldy;
  int rows, columns;
  bool accumulate;
};

// Rows of one matrix and its gradient; `count` rows of `width`.
struct Rows {
  const float* x;   // [count][width]
  const float* w;   // [width]
  const float* dy;  // [count][width]
  float* y;         // [count][width]; of `normWeightGradient` [width]
  float* r;         // [count] 1 / root mean square, which the gradient reads
  size_t count, width;
  float eps;
};

// The formulas of the following are in dual.h. A kernel ignores the pointers that it has no use for.
struct GateDual {  // all [n]
  const float *a, *b, *ta, *tb;
  float *y, *ty;
  const float *g, *h;
  float *da, *db, *dta, *dtb;
};

struct NormDual {
  const float *x, *t;   // [count][width]
  const float* w;       // [width]
  float *y, *ty;        // [count][width]
  float* r;             // [count]
  const float *g, *h;   // [count][width]
  float *dx, *dt;       // [count][width]
  float* dw;            // [width]
  size_t count, width;
  float eps;
};

// One row of scores in two parts: `context` of observed positions and `own` of the answer's. Pointers with the
// prefix context and `mask` are [context], with the prefix own [own]; tangents are null where there are none.
struct Joint {
  size_t context, own;
  const float *contextX, *mask, *ownX, *contextT, *ownT;
  float *contextP, *ownP, *contextTp, *ownTp;
};
struct JointGradient {
  size_t context, own;
  const float *contextP, *ownP, *contextT, *ownT, *contextG, *ownG, *contextH, *ownH;
  float *contextDx, *ownDx, *contextDt, *ownDt;
};

struct TrainingKernels {
  void (*product)(const Product&);
  // a [k][ld], or transposed [rows][ld]; panel [k][panelRows]. b [k][ld], or transposed [columns][ld]; tile
  // [k][tileColumns].
  void (*packPanel)(const float* a, size_t ld, bool transposed, int rows, int k, float* panel);
  void (*packTile)(const float* b, size_t ld, bool transposed, int columns, int k, float* tile);

  void (*unary)(Unary op, const float* x, float* y, size_t n, float p, float q);
  void (*binary)(Binary op, Repeat repeat, const float* a, const float* b, float* y, size_t n);
  void (*compare)(Binary op, Repeat repeat, const float* a, const float* b, uint8_t* y, size_t n);
  void (*addTo)(const float* x, float* y, size_t n);  // y += x
  void (*transpose)(const float* x, size_t ldx, float* y, size_t ldy, int rows, int columns);  // y [columns][rows]

  float (*reduceRow)(Reduce op, const float* x, size_t n);
  void (*reduceColumns)(Reduce op, const float* x, size_t rows, size_t width, size_t ld, float* y);

  void (*softmax)(const Rows&);                // y = softmax(x)
  void (*logSoftmax)(const Rows&);             // y = x - log sum exp(x)
  void (*softmaxGradient)(const Rows&);        // y = (dy - sum(dy x)) x, x being the softmax
  void (*logSoftmaxGradient)(const Rows&);     // y = dy - exp(x) sum(dy)
  void (*norm)(const Rows&);                   // y = x r w, r = 1 / sqrt(mean(x^2) + eps)
  void (*normGradient)(const Rows&);           // y = (dy w - n mean(dy w n)) r, n = x r
  void (*normWeightGradient)(const Rows&);     // y [width] = sum over rows of dy x r
  void (*gate)(const float* a, const float* b, float* y, size_t n);  // silu(a) b
  void (*gateGradient)(const float* a, const float* b, const float* dy, float* da, float* db, size_t n);
  // y = x cos + swap(x) sin, swap(a, b) = (-b, a); `back` the transpose. One row of an even width.
  void (*rotate)(const float* x, const float* cos, const float* sin, float* y, size_t width, bool back);
  void (*gateDual)(const GateDual&, size_t from, size_t n);
  void (*gateDualGradient)(const GateDual&, size_t from, size_t n);
  void (*normDual)(const NormDual&);
  void (*normDualGradient)(const NormDual&);
  void (*jointSoftmax)(const Joint&);
  void (*jointSoftmaxGradient)(const JointGradient&);
  float (*logSumExp)(const float* x, size_t n);
  void (*scaledExp)(const float* x, float* y, size_t n, float less, float factor);  // y = factor exp(x - less)
};

#if defined(__x86_64__)
namespace avx512 { extern const TrainingKernels trainingTable; }
namespace avx2 { extern const TrainingKernels trainingTable; }
#endif
namespace baseline { extern const TrainingKernels trainingTable; }

}  // namespace basin

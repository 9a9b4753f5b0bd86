// The kernels of training: what TensorFlow.js ops become. One table for each instruction set, as in
// native/kernels/kernels.h. Kernels know pointers and lengths: no tensor, no thread, no N-API.
//
// Rows have any length; nothing is read or written past it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace basin {

// The order of these lists is that of src/energy/tfjs/native/calls.ts.
enum class Unary {
  negate, absolute, square, squareRoot, inverseRoot, exp, log, sigmoid, tanh, relu, step, reciprocal, sign, clip,
  floor, ceil, round, log1p, expm1, softplus, sin, cos, erf, elu, scale, count
};
enum class Binary {
  add, subtract, multiply, divide, maximum, minimum, squaredDifference,  // as the operands
  power,                                                                 // float32
  equal, notEqual, less, lessEqual, greater, greaterEqual,               // bool
  logicalAnd, logicalOr,                                                 // bool of bool
  count
};
enum class Reduce { sum, max, min, count };
enum class Type { float32, int32, boolean, count };

// Which operand of a run is one number for all of it.
enum class Repeat { none, first, second };

// Rows of a packed panel of A; columns of a tile of B.
constexpr int panelRows = 12, tileColumns = 32;

// y [rows][ldy] (+)= a b: one panel [k][panelRows], one tile [k][tileColumns].
struct Product {
  const float* a;
  const float* b;
  int k;
  float* y;
  size_t ldy;
  int rows, columns;
  bool accumulate;
};

// Rows of one matrix and its gradient; `count` rows of `width`.
struct Rows {
  const float* x;
  const float* w;   // [width], or as the kernel says
  const float* dy;
  float* y;
  float* r;  // [count] what the gradient reads: 1 / root mean square, or log of the sum of exp
  size_t count, width;
  float eps;
};

// dual.h says what these hold. Pointers of gradients are null where they are not asked for.
struct GateDual {
  const float *a, *b, *ta, *tb;
  float *y, *ty;
  const float *g, *h;
  float *da, *db, *dta, *dtb;
};

struct NormDual {
  const float *x, *t, *w;  // [count][width], w [width]
  float *y, *ty, *r;
  const float *g, *h;
  float *dx, *dt, *dw;
  size_t count, width;
  float eps;
};

// One row of scores in two parts; tangents null where there are none.
struct Joint {
  size_t far, own;
  const float *farX, *mask, *ownX, *farT, *ownT;
  float *farP, *ownP, *farTp, *ownTp;
};
struct JointGradient {
  size_t far, own;
  const float *farP, *ownP, *farT, *ownT, *farG, *ownG, *farH, *ownH;
  float *farDx, *ownDx, *farDt, *ownDt;
};

struct TrainingKernels {
  void (*product)(const Product&);
  // a [k][m] or, turned, [m][k], from (0, 0) on; `ld` floats apart.
  void (*packPanel)(const float* a, size_t ld, bool turned, int rows, int k, float* panel);
  void (*packTile)(const float* b, size_t ld, bool turned, int columns, int k, float* tile);

  void (*unary)(Unary op, const float* x, float* y, size_t n, float p, float q);
  void (*binary)(Binary op, Repeat repeat, const float* a, const float* b, float* y, size_t n);
  void (*compare)(Binary op, Repeat repeat, const float* a, const float* b, uint8_t* y, size_t n);
  void (*addTo)(const float* x, float* y, size_t n);  // y += x
  void (*turn)(const float* x, size_t ldx, float* y, size_t ldy, int rows, int columns);  // y [columns][rows]

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

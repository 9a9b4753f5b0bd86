// Weight matrices packed in tiles of 32 columns for the kernels, in float32, bf16 or int8.
// int8 has one scale for each row of the checkpoint's matrix; the transposed copy, which gradients use, holds
// the same numbers, so that energy and gradient belong to one network.
#pragma once
#include <cmath>
#include <cstring>
#include <vector>
#include "runtime/arena.h"
#include "model/config.h"

namespace basin {

// A matrix of the checkpoint, row-major.
struct Source {
  const float* data;  // [rows][columns]
  int rows, columns;
};

struct Matrix {
  WeightType type = WeightType::f32;
  int k = 0;                       // inputs
  int count = 0;                   // tiles of outputs
  const void* tiles = nullptr;     // [count][k][tileWidth]; paired: [count][k / 2][tileWidth][2]
  bool paired = false;             // bf16 that is multiplied in pairs: inputs are rounded to bf16 too, k is even
  const float* after = nullptr;    // int8: [count * tileWidth], scales of outputs
  const float* before = nullptr;   // int8: [k], scales of inputs
  size_t bytes = 0;

  int columns() const { return count * tileWidth; }
  size_t weightBytes() const { return type == WeightType::f32 ? 4 : type == WeightType::bf16 ? 2 : 1; }
  // Bytes of a number of the inputs, as products take them.
  size_t inputBytes() const { return paired ? 2 : 4; }
  // The tiles from number `tile` on.
  const void* from(int tile) const { return static_cast<const char*>(tiles) + weightBytes() * size_t(tile) * k * tileWidth; }
  // Where the weight of input `i` for output `column` stands among the tiles.
  size_t at(int column, int i) const {
    const int together = paired ? 2 : 1;
    const size_t row = (size_t(column / tileWidth) * k + i) / together;
    return (row * tileWidth + column % tileWidth) * together + i % together;
  }
};

inline uint16_t toBf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Several matrices of one width, one below the other; the rows of each are padded to whole vectors.
class Stack {
 public:
  // `paired`: see Matrix; bf16 only.
  Stack(Arena& arena, WeightType type, bool paired, const std::vector<Source>& sources);
  // y = x W^T: inputs are the columns of the checkpoint's matrices, outputs their rows.
  Matrix forward() const;
  // dx = dy W: inputs are the rows (padding included), outputs the columns.
  Matrix backward() const;

 private:
  template <class T, class Value>
  Matrix pack(int n, int k, const Value& value) const;
  Matrix packAs(int n, int k, bool transposed) const;
  float at(int row, int column) const { return rowStart[row] ? rowStart[row][column] : 0.f; }

  Arena& arena;
  const WeightType type;
  const bool paired;
  int rows = 0, columns = 0;
  std::vector<const float*> rowStart;  // [rows], each [columns]; null where the row is padding
  float* scale = nullptr;              // int8: [rows padded to tiles]
};

// int8: the scale that maps the largest of n weights, `stride` apart, to 127.
float rowScale(const float* row, int n, int stride);

}  // namespace basin

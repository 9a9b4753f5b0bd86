// Weight matrices packed in tiles of 32 columns for the kernels, in float32, bf16 or int8.
// int8 has one scale for each row of the checkpoint's matrix; the transposed copy, which gradients use, holds
// the same numbers, so that energy and gradient belong to one network.
#pragma once
#include <vector>
#include "runtime/arena.h"
#include "model/config.h"
#include "model/numbers.h"

namespace basin {

// A matrix of the checkpoint, row-major.
struct Source {
  const float* data;  // [rows][columns]
  int rows, columns;
};

struct Matrix {
  NumberType type = NumberType::f32;
  int k = 0;                       // inputs
  int count = 0;                   // tiles of outputs
  const void* tiles = nullptr;     // [count][k / together][tileWidth][together]
  int together = 1;                // inputs that are multiplied at once: Kernels::together; k is a multiple of it
  const float* after = nullptr;    // int8: [count * tileWidth], scales of outputs
  const float* before = nullptr;   // int8: [k], scales of inputs
  size_t bytes = 0;

  int columns() const { return count * tileWidth; }
  // The tiles from number `tile` on.
  const void* from(int tile) const { return static_cast<const char*>(tiles) + numberBytes(type) * size_t(tile) * k * tileWidth; }
  // Where the weight of input `i` for output `column` stands among the tiles.
  size_t at(int column, int i) const {
    const size_t row = (size_t(column / tileWidth) * k + i) / together;
    return (row * tileWidth + column % tileWidth) * together + i % together;
  }
};

// Several matrices of one width, one below the other; the rows of each are padded to whole vectors.
class Stack {
 public:
  // `together`: see Matrix.
  Stack(Arena& arena, NumberType type, int together, const std::vector<Source>& sources);
  // y = x W^T: inputs are the columns of the checkpoint's matrices, outputs their rows.
  Matrix forward() const;
  // dx = dy W: inputs are the rows (padding included), outputs the columns.
  Matrix backward() const;

 private:
  template <class T, class Value>
  Matrix pack(int n, int k, T zero, const Value& value) const;
  Matrix packAs(int n, int k, bool transposed) const;
  float at(int row, int column) const { return rowStart[row] ? rowStart[row][column] : 0.f; }

  Arena& arena;
  const NumberType type;
  const int together;
  int rows = 0, columns = 0;
  std::vector<const float*> rowStart;  // [rows], each [columns]; null where the row is padding
  float* scale = nullptr;              // int8: [rows padded to tiles]
};

}  // namespace basin

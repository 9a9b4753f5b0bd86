#include "model/weights.h"

#include <algorithm>

namespace basin {

Stack::Stack(Arena& arena, NumberType type, int inputs, const std::vector<Source>& sources)
    : arena(arena), type(type), together(inputs) {
  for (const Source& source : sources) {
    columns = source.columns;
    for (int row = 0; row < padded(source.rows, lanes); row++)
      rowStart.push_back(row < source.rows ? source.data + size_t(row) * columns : nullptr);
  }
  rows = int(rowStart.size());
  if (type != NumberType::int8) return;
  scale = arena.take<float>(padded(rows, tileWidth));
  for (int row = 0; row < rows; row++) scale[row] = rowStart[row] ? int8Scale(rowStart[row], columns, 1) : 1.f;
}

template <class T, class Value>
Matrix Stack::pack(int n, int k, T zero, const Value& value) const {
  Matrix m;
  m.type = type;
  m.together = together;
  m.k = padded(k, together);
  m.count = padded(n, tileWidth) / tileWidth;
  const size_t size = size_t(m.count) * m.k * tileWidth;
  m.bytes = sizeof(T) * size;
  T* tiles = arena.take<T>(size);
  std::fill_n(tiles, size, zero);
  for (int column = 0; column < n; column++)
    for (int i = 0; i < k; i++) tiles[m.at(column, i)] = value(column, i);
  m.tiles = tiles;
  return m;
}

Matrix Stack::packAs(int n, int k, bool transposed) const {
  const auto source = [&](int out, int in) { return transposed ? at(in, out) : at(out, in); };
  if (type == NumberType::f32) return pack<float>(n, k, 0, source);
  if (type == NumberType::bf16) return pack<uint16_t>(n, k, 0, [&](int o, int i) { return toBf16(source(o, i)); });
  const uint8_t offset = int8Offset(together);
  return pack<uint8_t>(n, k, offset, [&](int o, int i) {
    return uint8_t(toInt8(source(o, i), scale[transposed ? i : o]) + offset);
  });
}

Matrix Stack::forward() const {
  Matrix m = packAs(rows, columns, false);
  m.after = scale;
  return m;
}

Matrix Stack::backward() const {
  Matrix m = packAs(columns, rows, true);
  m.before = scale;
  return m;
}

}  // namespace basin

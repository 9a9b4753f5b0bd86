#include "model/weights.h"

namespace basin {

float rowScale(const float* row, int n, int stride) {
  float most = 0;
  for (int i = 0; i < n; i++) most = std::fmax(most, std::fabs(row[size_t(i) * stride]));
  return most > 0 ? most / 127.f : 1.f;
}

Stack::Stack(Arena& arena, WeightType type, bool paired, const std::vector<Source>& sources)
    : arena(arena), type(type), paired(paired) {
  for (const Source& source : sources) {
    columns = source.columns;
    for (int row = 0; row < padded(source.rows, lanes); row++)
      rowStart.push_back(row < source.rows ? source.data + size_t(row) * columns : nullptr);
  }
  rows = int(rowStart.size());
  if (type != WeightType::int8) return;
  scale = arena.take<float>(padded(rows, tileWidth));
  for (int row = 0; row < rows; row++) scale[row] = rowStart[row] ? rowScale(rowStart[row], columns, 1) : 1.f;
}

template <class T, class Value>
Matrix Stack::pack(int n, int k, const Value& value) const {
  Matrix m;
  m.type = type;
  m.paired = paired;
  m.k = paired ? padded(k, 2) : k;
  m.count = padded(n, tileWidth) / tileWidth;
  const size_t size = size_t(m.count) * m.k * tileWidth;
  m.bytes = sizeof(T) * size;
  T* tiles = arena.take<T>(size);
  for (int column = 0; column < n; column++)
    for (int i = 0; i < k; i++) tiles[m.at(column, i)] = value(column, i);
  m.tiles = tiles;
  return m;
}

Matrix Stack::packAs(int n, int k, bool transposed) const {
  const auto source = [&](int out, int in) { return transposed ? at(in, out) : at(out, in); };
  if (type == WeightType::f32) return pack<float>(n, k, source);
  if (type == WeightType::bf16) return pack<uint16_t>(n, k, [&](int o, int i) { return toBf16(source(o, i)); });
  return pack<int8_t>(n, k, [&](int o, int i) {
    return int8_t(std::lrintf(source(o, i) / scale[transposed ? i : o]));
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

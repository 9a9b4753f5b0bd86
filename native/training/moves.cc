// Ops that move numbers: strided copies (slices, paddings, tiles, transpositions, concatenations), and gathering,
// scattering and one-hot by an index; and running sums.
#include <cstring>

#include "training/trainer.h"

namespace basin {

namespace {

template <class T>
void copyRun(const T* x, long long stepX, T* y, long long stepY, size_t n) {
  if (stepX == 1 && stepY == 1) memcpy(y, x, n * sizeof(T));
  else if (stepX == 0 && stepY == 1) std::fill_n(y, n, *x);
  else
    for (size_t i = 0; i < n; i++) y[i * stepY] = x[i * stepX];
}

}  // namespace

// bytes of an element, x, offset, y, offset, then the strided loop of x and y.
void Trainer::copy(Command& c) {
  const size_t bytes = c.size();
  const double idX = c.real();
  const long long offsetX = c.offset();
  const double idY = c.real();
  const long long offsetY = c.offset();
  StridedLoop w;
  w.read(c);
  if (w.empty()) return;
  long long lowX, highX, lowY, highY;
  StridedLoop::bounds(w, w.first, lowX, highX);
  StridedLoop::bounds(w, w.second, lowY, highY);
  if (lowX + offsetX < 0 || lowY + offsetY < 0) throw Refusal{"offset", "inside of the tensor", double(offsetX)};
  const size_t run = w.run(), rows = w.rows();
  const int last = w.rank - 1;
  const long long stepX = w.rank ? w.first[last] : 1, stepY = w.rank ? w.second[last] : 1;
  const auto walk = [&](auto* x, auto* y) {
    x += offsetX;
    y += offsetY;
    if (rows == 1)
      return share(run, 1, [&](size_t from, size_t n) { copyRun(x + from * stepX, stepX, y + from * stepY, stepY, n); });
    share(rows, run, [&](size_t from, size_t n) {
      for (size_t row = from; row < from + n; row++) {
        long long atX, atY;
        w.start(row, atX, atY);
        copyRun(x + atX, stepX, y + atY, stepY, run);
      }
    });
  };
  if (bytes == 1)
    return walk(Command(&idX, 1, memory).block<uint8_t>(highX + offsetX + 1),
                Command(&idY, 1, memory).block<uint8_t>(highY + offsetY + 1));
  if (bytes != 4) throw Refusal{"bytes", "1 or 4", double(bytes)};
  const float* x = Command(&idX, 1, memory).block(highX + offsetX + 1);
  float* y = Command(&idY, 1, memory).block(highY + offsetY + 1);
  // A transposition: neighbours in x lie along another dimension than the run. That dimension, `side`, becomes
  // the second one of a block.
  int side = -1;
  for (int i = 0; i < last; i++)
    if (w.first[i] == 1 && w.dims[i] >= 4) side = i;
  if (stepY != 1 || stepX <= 1 || run < 4 || side < 0)
    return walk(reinterpret_cast<const uint32_t*>(x), reinterpret_cast<uint32_t*>(y));
  const size_t width = w.dims[side];
  const long long apart = w.second[side];
  for (int i = side; i + 1 < last; i++) {
    w.dims[i] = w.dims[i + 1], w.first[i] = w.first[i + 1], w.second[i] = w.second[i + 1];
  }
  // The loop without `side`; one run of it is one block.
  w.dims[last - 1] = run, w.first[last - 1] = stepX, w.second[last - 1] = stepY;
  w.rank--;
  constexpr size_t perTask = 64;
  const size_t blocks = (width + perTask - 1) / perTask;
  share(w.rows() * blocks, run * perTask, [&](size_t from, size_t n) {
    for (size_t i = from; i < from + n; i++) {
      long long atX, atY;
      w.start(i / blocks, atX, atY);
      const size_t column = i % blocks * perTask;
      const size_t columns = width - column < perTask ? width - column : perTask;
      kernels.transpose(x + offsetX + atX + column, stepX, y + offsetY + atY + column * apart, apart, int(run), int(columns));
    }
  });
}

// bytes, x, ids, y, outer, axis, inner, n: y [outer][n][inner] = x [outer][axis][inner] at ids [n].
void Trainer::gather(Command& c) {
  const size_t bytes = c.size();
  const double ids[3] = {c.real(), c.real(), c.real()};
  const size_t outer = c.size(), axis = c.size(), inner = c.size(), n = c.size();
  if (bytes != 1 && bytes != 4) throw Refusal{"bytes", "1 or 4", double(bytes)};
  Command blocks(ids, 3, memory);
  const uint8_t* x = blocks.block<uint8_t>(outer * axis * inner * bytes);
  const int32_t* index = blocks.block<int32_t>(n);
  uint8_t* y = blocks.block<uint8_t>(outer * n * inner * bytes);
  for (size_t i = 0; i < n; i++) indexBelow("index", index[i], double(axis));
  const size_t width = inner * bytes;
  share(outer * n, inner, [&](size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++) memcpy(y + i * width, x + (i / n * axis + index[i % n]) * width, width);
  });
}

// x, ids, y, n, segments, inner, 1 to refuse an index out of range: y [segments][inner], sums of the
// rows of x by their id.
void Trainer::segmentSum(Command& c) {
  const double ids[3] = {c.real(), c.real(), c.real()};
  const size_t n = c.size(), segments = c.size(), inner = c.size();
  const bool strict = c.flag();
  Command blocks(ids, 3, memory);
  const float* x = blocks.block(n * inner);
  const int32_t* index = blocks.block<int32_t>(n);
  float* y = blocks.block(segments * inner);
  if (strict)
    for (size_t i = 0; i < n; i++) indexBelow("index", index[i], double(segments));
  share(segments, inner, [&](size_t from, size_t count) { std::fill_n(y + from * inner, count * inner, 0.f); });
  // Threads share columns, so that every sum adds rows in their order.
  const size_t perTask = n * inner < elementsPerTask ? inner : 64;
  if (inner == 0) return;
  pool.run(int((inner + perTask - 1) / perTask), [&](int task, int) {
    const size_t column = task * perTask, columns = inner - column < perTask ? inner - column : perTask;
    for (size_t i = 0; i < n; i++)
      if (index[i] >= 0 && size_t(index[i]) < segments) kernels.addTo(x + i * inner + column, y + index[i] * inner + column, columns);
  });
}

// indices, y, n, depth, then (dimension, stride) of each: y [n], the place that indices [n][depth] name.
void Trainer::flatIndex(Command& c) {
  const double ids[2] = {c.real(), c.real()};
  const size_t n = c.size(), depth = c.size();
  if (depth > StridedLoop::most) throw Refusal{"depth", "8 at most", double(depth)};
  size_t dims[StridedLoop::most], strides[StridedLoop::most];
  for (size_t i = 0; i < depth; i++) dims[i] = c.size(), strides[i] = c.size();
  Command blocks(ids, 2, memory);
  const int32_t* index = blocks.block<int32_t>(n * depth);
  int32_t* y = blocks.block<int32_t>(n);
  for (size_t i = 0; i < n; i++) {
    size_t at = 0;
    for (size_t j = 0; j < depth; j++) at += indexBelow("index", index[i * depth + j], double(dims[j])) * strides[j];
    y[i] = int32_t(at);
  }
}

// type, ids, y, n, depth, on, off
void Trainer::oneHot(Command& c) {
  const Type type = c.choice<Type>();
  const double ids[2] = {c.real(), c.real()};
  const size_t n = c.size(), depth = c.size();
  const double on = c.real(), off = c.real();
  Command blocks(ids, 2, memory);
  const int32_t* index = blocks.block<int32_t>(n);
  const auto write = [&](auto* y, auto yes, auto no) {
    share(n, depth, [&](size_t from, size_t count) {
      std::fill_n(y + from * depth, count * depth, no);
      for (size_t i = from; i < from + count; i++)
        if (index[i] >= 0 && size_t(index[i]) < depth) y[i * depth + index[i]] = yes;
    });
  };
  if (type == Type::float32) return write(blocks.block<float>(n * depth), float(on), float(off));
  if (type == Type::int32) return write(blocks.block<int32_t>(n * depth), int32_t(on), int32_t(off));
  return write(blocks.block<uint8_t>(n * depth), uint8_t(on != 0), uint8_t(off != 0));
}

// x, y, rows, n, exclusive, reverse: running sums along rows.
void Trainer::cumulate(Command& c) {
  const double ids[2] = {c.real(), c.real()};
  const size_t rows = c.size(), n = c.size();
  const bool exclusive = c.flag(), reverse = c.flag();
  Command blocks(ids, 2, memory);
  const float* x = blocks.block(rows * n);
  float* y = blocks.block(rows * n);
  share(rows, n, [&](size_t from, size_t count) {
    for (size_t row = from; row < from + count; row++) {
      float total = 0;
      for (size_t i = 0; i < n; i++) {
        const size_t at = row * n + (reverse ? n - 1 - i : i);
        const float next = total + x[at];
        y[at] = exclusive ? total : next;
        total = next;
      }
    }
  });
}

}  // namespace basin

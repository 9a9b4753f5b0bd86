// Reads the rows of a call, which come in as one flat array of numbers. Every number is checked.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/refusal.h"

namespace basin {

class RowReader {
 public:
  RowReader(const double* d, size_t n) : data(d), length(n) {}
  bool more() const { return at < length; }
  double next() {
    if (at >= length) throw Refusal{"rows", "complete rows", double(length)};
    return data[at++];
  }
  uint32_t word(const char* param) { return wordFrom(param, next()); }
  int index(const char* param, double limit) { return indexBelow(param, next(), limit); }
  std::vector<int> indices(const char* param, size_t count, double limit) {
    std::vector<int> found(count);
    for (int& index : found) index = this->index(param, limit);
    return found;
  }
  // A count of numbers that follow.
  size_t countLeft() { return size_t(index("rows", double(length - at) + 1)); }

 private:
  const double* data;  // [length]
  size_t length, at = 0;
};

}  // namespace basin

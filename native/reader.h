// Rows of a verb come in as one flat array of numbers.
#pragma once
#include <cstddef>
#include <cstdint>

#include "refusal.h"

namespace basin {

class Reader {
 public:
  Reader(const double* d, size_t n) : data(d), length(n) {}
  bool more() const { return at < length; }
  double next() {
    if (at >= length) throw Refusal{"rows", "complete rows", double(length)};
    return data[at++];
  }
  uint32_t word(const char* param) { return wordFrom(param, next()); }
  int index(const char* param, double limit) { return indexBelow(param, next(), limit); }
  size_t countLeft() { return size_t(index("rows", double(length - at) + 1)); }

 private:
  const double* data;
  size_t length, at = 0;
};

}  // namespace basin

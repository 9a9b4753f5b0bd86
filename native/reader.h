// Rows of a verb come in as one flat array of numbers.
#pragma once
#include <cmath>
#include <cstddef>
#include <string>

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
  double integer(const char* param, double limit) {
    const double x = next();
    if (!(x >= 0 && x < limit) || x != std::floor(x)) throw Refusal{param, "a whole number below " + std::to_string((long long)(limit)), x};
    return x;
  }
  int index(const char* param, double limit) { return indexBelow(param, next(), limit); }
  size_t countLeft() { return size_t(index("rows", double(length - at) + 1)); }

 private:
  const double* data;
  size_t length, at = 0;
};

}  // namespace basin

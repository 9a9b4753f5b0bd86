// An impossible request: which field, what it would have to be, what it was. The only exception.
#pragma once
#include <string>

namespace basin {

struct Refusal {
  std::string param;
  std::string bound;
  double value;
};

// `value` as an index below `limit`; refuses anything else, NaN and fractions included.
inline int indexBelow(const char* param, double value, double limit) {
  if (!(value >= 0 && value < limit) || value != static_cast<double>(static_cast<long long>(value)))
    throw Refusal{param, "an integer from 0 to " + std::to_string(static_cast<long long>(limit) - 1), value};
  return static_cast<int>(value);
}

}  // namespace basin

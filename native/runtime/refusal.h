// An impossible request: which field, what it would have to be, what it was. The engine throws nothing else.
#pragma once
#include <cstdint>
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

// `value` as a word of 32 bits; refuses anything else.
inline uint32_t wordFrom(const char* param, double value) {
  if (!(value >= 0 && value < 4294967296.0) || value != static_cast<double>(static_cast<uint32_t>(value)))
    throw Refusal{param, "a 32-bit word", value};
  return static_cast<uint32_t>(value);
}

}  // namespace basin

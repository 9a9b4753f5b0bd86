// The blocks of memory of tensors, known by number: aligned to cache lines, and on large pages where they are
// large. src/energy/tfjs/addon-backend/storage.ts decides which block is used again for what. A block lives until
// it is dropped and no JavaScript view of it is left.
#pragma once
#include <cstdlib>
#include <memory>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#include "runtime/refusal.h"

namespace basin {

struct Block {
  std::shared_ptr<void> data;
  size_t bytes = 0;
};

inline Block newBlock(size_t bytes) {
  constexpr size_t line = 64, large = size_t(2) << 20;
  const size_t alignment = bytes >= 2 * large ? large : line;
  const size_t size = (bytes + 2 * line - 1) / alignment * alignment + alignment;
  void* data = std::aligned_alloc(alignment, size);
  if (!data) throw Refusal{"memory", "what this machine can give", double(bytes)};
#if defined(__linux__)
  if (alignment == large) madvise(data, size, MADV_HUGEPAGE);
#endif
  return {std::shared_ptr<void>(data, free), bytes};
}

class Memory {
 public:
  int take(size_t bytes) {
    Block block = newBlock(bytes);
    if (dropped.empty()) {
      blocks.push_back(std::move(block));
      return int(blocks.size()) - 1;
    }
    const int id = dropped.back();
    dropped.pop_back();
    blocks[id] = std::move(block);
    return id;
  }
  void drop(int id) {
    if (!blocks[id].data) throw Refusal{"block", "one that is in use", double(id)};
    blocks[id] = Block{};
    dropped.push_back(id);
  }
  const Block& at(int id) const { return blocks[id]; }
  size_t count() const { return blocks.size(); }

 private:
  std::vector<Block> blocks;
  std::vector<int> dropped;
};

// Memory that only grows, for packed operands and partial sums.
class Scratch {
 public:
  float* floats(size_t n) {
    if (n * sizeof(float) > block.bytes) block = newBlock(n * sizeof(float) * 5 / 4);
    return static_cast<float*>(block.data.get());
  }

 private:
  Block block;
};

}  // namespace basin

// What ThreadSanitizer watches: the pool under jobs of every size with pauses in which its threads
// fall asleep, then an engine that must give one and the same bits for 1 to 4 threads.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "../engine.h"

using namespace basin;

namespace {

void fail(const char* what) {
  fprintf(stderr, "failed: %s\n", what);
  exit(1);
}

void stressPool(int threads, int jobs) {
  Pool pool(threads);
  std::vector<int> seen;
  for (int job = 0; job < jobs; job++) {
    const int tasks = job % 97 + 1;
    seen.assign(tasks, 0);
    pool.run(tasks, [&](int task, int thread) { seen[task] += thread < threads ? 1 : 100; });
    for (const int times : seen)
      if (times != 1) fail("every task once");
    if (job % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Config smallConfig() {
  Config c{};
  c.vocab = 1100, c.dim = 32, c.layers = 2, c.heads = 2, c.ffn = 48, c.contextLength = 64, c.landscapes = 1;
  c.block = 1, c.eps = 1e-5f, c.theta = 10000, c.startScale = 1;
  c.conditioning = Conditioning::none, c.space = Space::vocab, c.start = Start::noise;
  c.normalize = Normalize::everyStep, c.embed = EmbedWith::embeddings;
  c.kind = EnergyKind::head, c.direction = Direction::exact;
  return c;
}

std::vector<double> energies(int threads) {
  const Config c = smallConfig();
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.2f);
  std::vector<float> numbers(size_t(c.vocab) * c.dim);
  for (float& x : numbers) x = normal(random);
  const std::map<std::string, size_t> sizes = {{"alpha", 1},
                                               {"embeddings.weight", size_t(c.vocab) * c.dim},
                                               {"transformer.norm.weight", c.dim},
                                               {"transformer.final_layer.weight", c.dim}};
  const Tensors tensors = [&](const std::string& name) -> Tensor {
    const auto known = sizes.find(name);
    const bool square = name.find(".attention.") != std::string::npos;
    const bool norm = name.find("norm") != std::string::npos;
    const size_t count = known != sizes.end() ? known->second : norm ? c.dim : size_t(c.dim) * (square ? c.dim : c.ffn);
    return {numbers.data(), count};
  };
  const int rows = 9;
  Engine engine(c, {rows, rows, rows * 3, threads}, WeightType::f32, chooseKernels(""), tensors);
  std::vector<DescendRow> batch;
  for (int i = 0; i < rows; i++) {
    engine.observe({{i, -1, std::vector<int>(5 * i, i), {3 * i, 3 * i + 1, 3 * i + 2}}});
    engine.begin({i, i, uint64_t(i), 0, {}, nullptr, 0});
    batch.push_back({i, 0, 1, 0.5f, i % 2 ? 0.01 : 0, i % 3 == 0});
  }
  std::vector<double> out;
  std::vector<RowResult> results(rows);
  for (int step = 0; step < 20; step++) {
    engine.descend(batch, results.data());
    for (const RowResult& r : results) out.push_back(r.energy);
  }
  return out;
}

}  // namespace

int main() {
  for (int threads = 2; threads <= 8; threads *= 2) stressPool(threads, 4000);
  const std::vector<double> expected = energies(1);
  for (int threads = 2; threads <= 4; threads++)
    if (energies(threads) != expected) fail("the same bits for any number of threads");
  puts("pool and engine: as they should be");
}

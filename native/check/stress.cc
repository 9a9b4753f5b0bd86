// Runs under ThreadSanitizer: the pool on jobs of every size, with pauses in which its threads fall asleep,
// then an engine and a trainer, which must give the same bits for 1 to 4 threads.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "engine/engine.h"
#include "training/trainer.h"

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

// Answers of nine positions without a gradient, some of them clamped: enough work for threads to take answers
// of their own.
Config boardConfig() {
  Config c = smallConfig();
  c.vocab = 7, c.block = 9, c.doubt = 1;
  c.space = Space::latent, c.start = Start::zeros, c.normalize = Normalize::never;
  c.kind = EnergyKind::residual, c.direction = Direction::amortized;
  return c;
}

// Every two answers share a context.
std::vector<double> energies(const Config& c, NumberType cache, int rows, int threads) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.2f);
  std::vector<float> numbers(size_t(1) << 16);
  for (float& x : numbers) x = normal(random);
  const std::map<std::string, size_t> sizes = {{"alpha", 1},
                                               {"embeddings.weight", size_t(c.vocab) * c.dim},
                                               {"transformer.norm.weight", c.dim},
                                               {"transformer.final_layer.weight", c.dim},
                                               {"answer.query.weight", size_t(c.block) * c.dim},
                                               {"answer.blank.weight", c.dim},
                                               {"answer.readout.weight", size_t(c.vocab) * c.dim},
                                               {"answer.opinion.weight", size_t(c.dim) * c.dim}};
  const Tensors tensors = [&](const std::string& name) -> Tensor {
    const auto known = sizes.find(name);
    const bool square = name.find(".attention.") != std::string::npos;
    const bool norm = name.find("norm") != std::string::npos;
    const size_t count = known != sizes.end() ? known->second : norm ? c.dim : size_t(c.dim) * (square ? c.dim : c.ffn);
    return {numbers.data(), count};
  };
  Engine engine(c, {rows, rows, rows * 3, threads}, {NumberType::f32, cache}, chooseKernels("", NumberType::f32), tensors);
  std::vector<DescendRow> batch;
  for (int i = 0; i < rows; i++) {
    engine.observe({{i, -1, std::vector<int>(5 * (i % 9), i % c.vocab), {3 * i, 3 * i + 1, 3 * i + 2}}});
    std::vector<int> clamped;
    for (int k = 0; k < c.block && c.block > 1; k++) clamped.push_back((i + k) % 3 == 0 ? k % c.vocab : -1);
    engine.begin({i, i / 2 * 2, uint64_t(i), 0, clamped, nullptr, 0});
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

// The ops that threads share: products in one piece and in many, reductions along and across, softmax.
std::vector<float> trained(int threads) {
  Trainer trainer(threads);
  constexpr size_t most = size_t(1) << 18;
  int blocks[3];
  for (int& id : blocks) id = trainer.memory.take(most * sizeof(float));
  const auto floats = [&](int i) { return static_cast<float*>(trainer.memory.at(blocks[i]).data.get()); };
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 2; i++) std::generate_n(floats(i), most, [&] { return normal(random); });
  const double a = blocks[0], b = blocks[1], y = blocks[2];
  std::vector<float> out;
  const auto call = [&](Op op, std::vector<double> numbers, size_t count) {
    std::copy(numbers.begin(), numbers.end(), trainer.command.get());
    trainer.run(op, numbers.size());
    out.insert(out.end(), floats(2), floats(2) + count);
  };
  const double products[][3] = {{1, 7, 300}, {200, 96, 500}, {33, 513, 64}};  // m, n, k
  for (const auto& [m, n, k] : products)
    for (const double turned : {0, 1}) call(Op::matmul, {a, b, y, 1, m, n, k, turned, 1 - turned, 0, 0}, size_t(m * n));
  call(Op::matmul, {a, b, y, 48, 36, 36, 32, 0, 1, 1, 1}, 48 * 36 * 36);
  call(Op::reduce, {double(Reduce::sum), a, y, 1, double(most), 1}, 1);
  call(Op::reduce, {double(Reduce::sum), a, y, 2, 4096, 32}, 64);
  call(Op::reduce, {double(Reduce::max), a, y, 512, 512, 1}, 512);
  call(Op::softmax, {a, y, 700, 300}, 700 * 300);
  return out;
}

}  // namespace

int main() {
  for (int threads = 2; threads <= 8; threads *= 2) stressPool(threads, 4000);
  const auto descents = [](int threads) {
    return std::vector{energies(smallConfig(), NumberType::f32, 9, threads), energies(boardConfig(), NumberType::bf16, 24, threads)};
  };
  const auto expected = descents(1);
  const std::vector<float> learned = trained(1);
  for (int threads = 2; threads <= 4; threads++) {
    if (descents(threads) != expected) fail("the engine's bits, the same for any number of threads");
    if (trained(threads) != learned) fail("the trainer's bits, the same for any number of threads");
  }
  puts("pool, engine and trainer give the same bits for any number of threads");
}

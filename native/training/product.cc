// Matrix products, in blocks that fit the caches: one large product is cut by k, then by rows and
// columns, which threads share; of many small products each is one thread's.
#include "training/trainer.h"

namespace basin {

// y [batch][m][n] = a b. a [m][k], or [k][m] where transposed; b [k][n], or [n][k] where transposed.
struct Trainer::Factors {
  const float* a;
  const float* b;
  float* y;
  size_t batch, m, n, k;
  bool transposedA, transposedB;
  size_t strideA, strideB;  // from matrix to matrix; 0 where one serves all

  // Packs one panel: `rows` rows of A from `row` on, `depth` of k from `k0` on.
  void packA(const TrainingKernels& kernels, const float* from, size_t row, int rows, size_t k0, int depth, float* out) const {
    if (transposedA) kernels.packPanel(from + k0 * m + row, m, false, rows, depth, out);
    else kernels.packPanel(from + row * k + k0, k, true, rows, depth, out);
  }
  void packB(const TrainingKernels& kernels, const float* from, size_t column, int columns, size_t k0, int depth,
             float* out) const {
    if (transposedB) kernels.packTile(from + column * k + k0, k, true, columns, depth, out);
    else kernels.packTile(from + k0 * n + column, n, false, columns, depth, out);
  }
};

namespace {

constexpr size_t deepest = 384;      // k of a block: a panel is 18 KB
constexpr size_t widest = 8;         // tiles of a block: 8 * 48 KB
constexpr size_t tallest = 96;       // rows of a block
constexpr size_t smallTiles = 1 << 16;  // floats of B that one thread packs for itself

size_t parts(size_t n, size_t most) { return (n + most - 1) / most; }
int upTo(size_t left, int most) { return left < size_t(most) ? int(left) : most; }

}  // namespace

void Trainer::matmul(Command& c) {
  Factors f{};
  const double idA = c.real(), idB = c.real(), idY = c.real();
  f.batch = c.size(), f.m = c.size(), f.n = c.size(), f.k = c.size();
  f.transposedA = c.flag(), f.transposedB = c.flag();
  f.strideA = c.flag() ? f.m * f.k : 0;
  f.strideB = c.flag() ? f.k * f.n : 0;
  const auto blockOf = [&](double id, size_t n) { return Command(&id, 1, memory).block(n); };
  f.y = blockOf(idY, f.batch * f.m * f.n);
  f.a = blockOf(idA, (f.strideA ? f.batch : 1) * f.m * f.k);
  f.b = blockOf(idB, (f.strideB ? f.batch : 1) * f.k * f.n);
  if (f.batch * f.m * f.n == 0) return;
  if (f.k == 0) return share(f.batch * f.m * f.n, 1, [&](size_t from, size_t n) { std::fill_n(f.y + from, n, 0.f); });
  if (f.batch > 1 && f.strideB == 0 && f.strideA != 0 && !f.transposedA) {
    f.m *= f.batch;
    f.batch = 1;
  }
  if (f.batch > 1 && f.k <= 2 * deepest && f.n * f.k <= smallTiles) return productOfMany(f);
  for (size_t i = 0; i < f.batch; i++) {
    Factors one = f;
    one.a += i * f.strideA;
    one.b += i * f.strideB;
    one.y += i * f.m * f.n;
    productOfLarge(one);
  }
}

void Trainer::productOfMany(const Factors& f) {
  const size_t tiles = parts(f.n, tileColumns), depth = f.k;
  const size_t work = f.m * f.n * f.k;
  const size_t each = work >= elementsPerTask * 8 ? 1 : parts(elementsPerTask * 8, work);
  const size_t room = tiles * depth * tileColumns + depth * panelRows;
  for (Scratch& scratch : threadScratch) scratch.floats(room);
  pool.run(int(parts(f.batch, each)), [&](int task, int thread) {
    float* const packed = threadScratch[thread].floats(room);
    float* const panel = packed + tiles * depth * tileColumns;
    for (size_t i = task * each; i < f.batch && i < (task + 1) * each; i++) {
      if (f.strideB || i == task * each)
        for (size_t tile = 0; tile < tiles; tile++)
          f.packB(kernels, f.b + i * f.strideB, tile * tileColumns, upTo(f.n - tile * tileColumns, tileColumns), 0, int(depth),
                  packed + tile * depth * tileColumns);
      for (size_t row = 0; row < f.m; row += panelRows) {
        const int rows = upTo(f.m - row, panelRows);
        f.packA(kernels, f.a + i * f.strideA, row, rows, 0, int(depth), panel);
        for (size_t tile = 0; tile < tiles; tile++)
          kernels.product({panel, packed + tile * depth * tileColumns, int(depth),
                           f.y + (i * f.m + row) * f.n + tile * tileColumns, f.n, rows,
                           upTo(f.n - tile * tileColumns, tileColumns), false});
      }
    }
  });
}

void Trainer::productOfLarge(const Factors& f) {
  const size_t tiles = parts(f.n, tileColumns);
  const size_t wide = parts(tiles, parts(tiles, widest)), wides = parts(tiles, wide);
  const size_t blocks = parts(f.k, deepest), depth = parts(f.k, blocks);
  // Enough pieces for all threads to end together. How many there are changes no result.
  size_t tall = tallest;
  while (tall > panelRows && parts(f.m, tall) * wides < size_t(pool.threads()) * 4) tall /= 2;
  const size_t talls = parts(f.m, tall);
  float* const packed = sharedScratch.floats(tiles * depth * tileColumns);
  // Scratch memory is taken before the threads start, because a failure must be thrown here.
  for (Scratch& scratch : threadScratch) scratch.floats(depth * panelRows);
  for (size_t k0 = 0; k0 < f.k; k0 += depth) {
    const int k = upTo(f.k - k0, int(depth));
    const size_t tileSize = size_t(k) * tileColumns;
    const size_t perTask = tileSize >= elementsPerTask ? 1 : parts(elementsPerTask, tileSize);
    pool.run(int(parts(tiles, perTask)), [&](int task, int) {
      for (size_t tile = task * perTask; tile < tiles && tile < (task + 1) * perTask; tile++)
        f.packB(kernels, f.b, tile * tileColumns, upTo(f.n - tile * tileColumns, tileColumns), k0, k, packed + tile * tileSize);
    });
    pool.run(int(talls * wides), [&](int task, int thread) {
      const size_t top = task % talls * tall, left = task / talls * wide;
      const size_t bottom = top + tall < f.m ? top + tall : f.m, right = left + wide < tiles ? left + wide : tiles;
      float* const panel = threadScratch[thread].floats(depth * panelRows);
      for (size_t row = top; row < bottom; row += panelRows) {
        const int rows = upTo(bottom - row, panelRows);
        f.packA(kernels, f.a, row, rows, k0, k, panel);
        for (size_t tile = left; tile < right; tile++)
          kernels.product({panel, packed + tile * tileSize, k, f.y + row * f.n + tile * tileColumns, f.n, rows,
                           upTo(f.n - tile * tileColumns, tileColumns), k0 > 0});
      }
    });
  }
}

}  // namespace basin

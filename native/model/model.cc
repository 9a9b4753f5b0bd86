#include "model/model.h"

#include <algorithm>
#include <cmath>

namespace basin {

namespace {

// The numbers of a tensor, [count]. Refuses another size, and numbers that are not finite.
const float* checked(const Tensors& tensors, const std::string& name, size_t count) {
  const Tensor tensor = tensors(name);
  if (tensor.count != count) throw Refusal{name, std::to_string(count) + " numbers", double(tensor.count)};
  for (size_t i = 0; i < count; i++)
    if (!std::isfinite(tensor.data[i])) throw Refusal{name, "finite numbers", double(i)};
  return tensor.data;
}

}  // namespace

Model::Model(const Config& c, NumberType weightType, int inputs, const Tensors& tensors, size_t positions)
    : config((c.check(), c)), type(weightType), together(inputs) {
  // Rows of `descend` carry the step size; the checkpoint must have one all the same.
  checked(tensors, "alpha", 1);
  embeddings = rows(tensors, "embeddings.weight", c.vocab, c.dim);
  norm = rows(tensors, "transformer.norm.weight", 1, c.dim);
  timeEmbeddings = c.conditioning == Conditioning::none
                       ? nullptr
                       : rows(tensors, "transformer.time_embeddings.weight", c.landscapes, c.dim);
  for (int i = 0; i < c.layers; i++) makeLayer(tensors, i);
  const bool adaln = c.conditioning == Conditioning::adaln;
  finalModulation = nullptr;
  head = nullptr;
  if (c.kind != EnergyKind::residual) {
    if (adaln) finalModulation = makeModulation(tensors, "transformer.final_layer", 2);
    head = rows(tensors, adaln ? "transformer.final_layer.linear.weight" : "transformer.final_layer.weight", 1, c.dim);
  } else if (adaln) {
    throw Refusal{"conditioning", "anything but adaln for the residual energy", 0};
  }
  query = blank = nullptr;
  vocab = {};
  if (c.space == Space::vocab) {
    makeVocab(tensors);
  } else {
    query = rows(tensors, "answer.query.weight", c.block, c.dim);
    blank = rows(tensors, "answer.blank.weight", 1, c.dim);
    readout = Stack(arena, type, together, {source(tensors, "answer.readout.weight", c.vocab, c.dim)}).forward();
    if (c.kind == EnergyKind::residual) {
      const Stack stack(arena, type, together, {source(tensors, "answer.opinion.weight", c.dim, c.dim)});
      opinion = stack.forward();
      if (c.needsGradient()) opinionBack = stack.backward();
    }
    if (c.anchor) anchor = Stack(arena, type, together, {source(tensors, "answer.anchor.weight", c.dim, c.dim)}).forward();
    if (c.anchor || (c.start == Start::draft && c.kind != EnergyKind::residual))
      draft = Stack(arena, type, together, {source(tensors, "answer.draft.weight", c.dim, c.dim)}).forward();
    if (c.kind == EnergyKind::potential) potentialScale = checked(tensors, "answer.scale", 1)[0];
  }
  makeRotary(positions);
}

double Model::stepBytes() const {
  double bytes = double(vocab.bytes) + double(opinion.bytes) + double(opinionBack.bytes);
  if (config.kind == EnergyKind::residual) bytes += double(readout.bytes);
  for (const Layer& l : layers)
    for (const Matrix* m : {&l.qkv, &l.out, &l.gates, &l.down, &l.qkvBack, &l.outBack, &l.gatesBack, &l.downBack})
      bytes += double(m->bytes);
  return bytes;
}

const float* Model::rows(const Tensors& tensors, const std::string& name, int count, int width) {
  const float* data = checked(tensors, name, size_t(count) * width);
  float* copy = arena.take<float>(size_t(count) * config.ld());
  for (int row = 0; row < count; row++)
    memcpy(copy + size_t(row) * config.ld(), data + size_t(row) * width, sizeof(float) * width);
  return copy;
}

Source Model::source(const Tensors& tensors, const std::string& name, int rowCount, int columns) const {
  return {checked(tensors, name, size_t(rowCount) * columns), rowCount, columns};
}

void Model::makeLayer(const Tensors& tensors, int index) {
  const Config& c = config;
  const std::string at = "transformer.layers." + std::to_string(index);
  const auto square = [&](const char* name) {
    return source(tensors, at + ".attention." + name + ".weight", c.dim, c.dim);
  };
  Layer layer{};
  layer.attentionNorm = rows(tensors, at + ".attention_norm.weight", 1, c.dim);
  layer.ffnNorm = rows(tensors, at + ".ffn_norm.weight", 1, c.dim);
  const Stack qkv(arena, type, together, {square("wq"), square("wk"), square("wv")});
  const Stack out(arena, type, together, {square("wo")});
  const Stack gates(arena, type, together,
                    {source(tensors, at + ".feed_forward.w1.weight", c.ffn, c.dim),
                     source(tensors, at + ".feed_forward.w3.weight", c.ffn, c.dim)});
  const Stack down(arena, type, together, {source(tensors, at + ".feed_forward.w2.weight", c.dim, c.ffn)});
  layer.qkv = qkv.forward();
  layer.out = out.forward();
  layer.gates = gates.forward();
  layer.down = down.forward();
  if (c.needsGradient()) {
    layer.qkvBack = qkv.backward();
    layer.outBack = out.backward();
    layer.gatesBack = gates.backward();
    layer.downBack = down.backward();
  }
  if (c.conditioning == Conditioning::adaln) layer.modulation = makeModulation(tensors, at, 6);
  layers.push_back(layer);
}

// W silu(step embedding) + b for every landscape, [T][parts][ld]. It depends on the landscape alone, so it is
// computed once.
const float* Model::makeModulation(const Tensors& tensors, const std::string& at, int parts) {
  const Config& c = config;
  const float* w = checked(tensors, at + ".adaLN_modulation.1.weight", size_t(parts) * c.dim * c.dim);
  const float* b = checked(tensors, at + ".adaLN_modulation.1.bias", size_t(parts) * c.dim);
  float* all = arena.take<float>(size_t(c.landscapes) * parts * c.ld());
  std::vector<float> active(c.dim);
  for (int t = 0; t < c.landscapes; t++) {
    const float* step = timeEmbeddings + size_t(t) * c.ld();
    for (int i = 0; i < c.dim; i++) active[i] = step[i] / (1.f + std::exp(-step[i]));
    for (int row = 0; row < parts * c.dim; row++) {
      float sum = 0;
      for (int i = 0; i < c.dim; i++) sum += w[size_t(row) * c.dim + i] * active[i];
      all[(size_t(t) * parts + row / c.dim) * c.ld() + row % c.dim] = sum + b[row];
    }
  }
  return all;
}

void Model::makeVocab(const Tensors& tensors) {
  const Config& c = config;
  const bool own = c.embed == EmbedWith::vocabToEmbed;
  const float* w = own ? checked(tensors, "vocab_to_embed.weight", size_t(c.dim) * c.vocab)
                       : checked(tensors, "embeddings.weight", size_t(c.vocab) * c.dim);
  // vocab_to_embed is stored [D, V], token embeddings [V, D].
  const size_t perToken = own ? 1 : c.dim;
  const size_t perColumn = own ? c.vocab : 1;
  vocab.type = type;
  vocab.ld = padded(c.ld(), lanes * together);
  const auto fill = [&](auto zero, const auto& convert) {
    const size_t size = size_t(c.vocabPadded()) * vocab.ld;
    auto* table = arena.take<decltype(zero)>(size);
    std::fill_n(table, size, zero);
    for (int v = 0; v < c.vocab; v++)
      for (int j = 0; j < c.dim; j++) table[size_t(v) * vocab.ld + j] = convert(v, w[v * perToken + j * perColumn]);
    vocab.rows = table;
    vocab.bytes = sizeof(zero) * size;
  };
  if (type == NumberType::f32) {
    fill(0.f, [](int, float x) { return x; });
  } else if (type == NumberType::bf16) {
    fill(uint16_t(0), [](int, float x) { return toBf16(x); });
  } else {
    float* scale = arena.take<float>(c.vocabPadded());
    for (int v = 0; v < c.vocab; v++) scale[v] = int8Scale(w + v * perToken, c.dim, int(perColumn));
    const uint8_t offset = int8Offset(together);
    fill(offset, [&](int v, float x) { return uint8_t(toInt8(x, scale[v]) + offset); });
    vocab.rowScale = scale;
  }
}

// Number `at` of weights, without its scale.
float Model::stored(const void* weights, size_t at) const {
  if (type == NumberType::f32) return static_cast<const float*>(weights)[at];
  if (type == NumberType::bf16) return fromBf16(static_cast<const uint16_t*>(weights)[at]);
  return float(int8_t(static_cast<const uint8_t*>(weights)[at] - int8Offset(together)));
}

void Model::vocabRow(int token, float* e) const {
  const float scale = vocab.rowScale ? vocab.rowScale[token] : 1.f;
  for (int j = 0; j < config.ld(); j++) e[j] = stored(vocab.rows, size_t(token) * vocab.ld + j) * scale;
}

void Model::tokenVector(int token, float* e) const {
  if (config.space == Space::vocab) return vocabRow(token, e);
  memset(e, 0, sizeof(float) * config.ld());
  const float scale = readout.after ? readout.after[token] : 1.f;
  for (int j = 0; j < config.dim; j++) e[j] = stored(readout.tiles, readout.at(token, j)) * scale;
}

void Model::makeRotary(size_t positions) {
  const int d = config.headWidth(), dp = config.headPadded();
  float* c = arena.take<float>(positions * dp);
  float* s = arena.take<float>(positions * dp);
  for (int i = 0; i < d; i++) {
    const double rate = std::pow(config.theta, -double(i - i % 2) / d);
    for (size_t p = 0; p < positions; p++) {
      c[p * dp + i] = float(std::cos(double(p) * rate));
      s[p * dp + i] = float(i % 2 == 0 ? -std::sin(double(p) * rate) : std::sin(double(p) * rate));
    }
  }
  cos = c;
  sin = s;
}

}  // namespace basin

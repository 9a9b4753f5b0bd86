// Registers the engine with Node: unpacks arguments, calls one verb, packs results. The typed surface,
// with the layout of every array, is src/energy/native/addon.ts. Every argument
// is checked: one that does not fit becomes a thrown error with `param`, `bound` and `value`.
#include <cmath>
#include <memory>

#include "addon/boundary.h"
#include "engine/engine.h"
#include "runtime/peak.h"
#include "addon/row_reader.h"
#include "addon/training_addon.h"

namespace basin {
namespace {

constexpr napi_type_tag engineTag = {0x6a1fd1b2c5a44d0eULL, 0x9d3b77e0a1c24f58ULL};
Engine& engineOf(const Call& call) { return call.wrapped<Engine>(engineTag, "an engine"); }

Config configOf(napi_env env, napi_value o) {
  const double most = 1e7;
  Config c{};
  c.vocab = whole(env, o, "vocab_size", most);
  c.dim = whole(env, o, "dim", most);
  c.layers = whole(env, o, "layers", most);
  c.heads = whole(env, o, "heads", most);
  c.ffn = whole(env, o, "ffn_dim", most);
  c.contextLength = whole(env, o, "context_length", most);
  c.landscapes = whole(env, o, "landscapes", most);
  c.block = whole(env, o, "block", most);
  c.eps = float(property(env, o, "norm_eps"));
  c.theta = property(env, o, "rope_theta");
  c.startScale = property(env, o, "start_scale");
  c.doubt = property(env, o, "doubt");
  c.conditioning = Conditioning(whole(env, o, "conditioning", 4));
  c.space = Space(whole(env, o, "space", 2));
  c.start = Start(whole(env, o, "start", 4));
  c.normalize = Normalize(whole(env, o, "normalize", 3));
  c.embed = EmbedWith(whole(env, o, "embed", 2));
  c.kind = EnergyKind(whole(env, o, "kind", 3));
  c.direction = Direction(whole(env, o, "direction", 2));
  c.anchor = whole(env, o, "anchor", 2);
  return c;
}

void destroy(napi_env, void* engine, void*) { delete static_cast<Engine*>(engine); }

napi_value open(const Call& call) {
  const napi_env env = call.env;
  const napi_value options = call.object(0), tensors = call.object(1);
  const Config config = configOf(env, options);
  const Capacity capacity{whole(env, options, "slots", 1e9), whole(env, options, "contexts", 1e9),
                          whole(env, options, "pages", 1e9), whole(env, options, "threads", 1e9)};
  const NumberTypes types{NumberType(whole(env, options, "weights", numberTypes)),
                          NumberType(whole(env, options, "cache", numberTypes))};
  static const char* const caps[] = {"", "avx512", "avx2", "baseline"};
  const Kernels& kernels = chooseKernels(caps[whole(env, options, "kernels", 4)], types.weights);
  const Tensors lookup = [&](const std::string& name) {
    napi_value value;
    bool has = false;
    require(napi_has_named_property(env, tensors, name.c_str(), &has) == napi_ok, "tensors");
    if (!has) throw Refusal{name, "a tensor of the checkpoint", 0};
    require(napi_get_named_property(env, tensors, name.c_str(), &value) == napi_ok, "tensors");
    Tensor tensor{};
    tensor.data = Call::arrayOf<float>(env, value, tensor.count);
    return tensor;
  };
  auto engine = std::make_unique<Engine>(config, capacity, types, kernels, lookup);
  napi_value handle;
  require(napi_create_object(env, &handle) == napi_ok, "no handle");
  require(napi_type_tag_object(env, handle, &engineTag) == napi_ok, "no tag");
  require(napi_wrap(env, handle, engine.get(), destroy, nullptr, nullptr) == napi_ok, "no wrap");
  engine.release();
  return handle;
}

napi_value close(const Call& call) {
  Engine* engine = &engineOf(call);
  void* data = nullptr;
  require(napi_remove_wrap(call.env, call.object(0), &data) == napi_ok, "the engine is closed");
  delete engine;
  return none(call.env);
}

napi_value observe(const Call& call) {
  Engine& engine = engineOf(call);
  size_t length = 0;
  const double* data = call.array<double>(1, length);
  RowReader reader(data, length);
  std::vector<ObserveRow> rows;
  while (reader.more()) {
    ObserveRow row;
    row.contextId = reader.index("contextId", engine.capacity.contexts);
    row.from = indexBelow("from", reader.next() + 1, double(engine.config().contextLength) + 1) - 1;
    const size_t tokens = reader.countLeft();
    const size_t pages = reader.countLeft();
    row.tokens = reader.indices("token", tokens, engine.config().vocab);
    row.pages = reader.indices("pages", pages, engine.capacity.pages);
    rows.push_back(std::move(row));
  }
  if (call.absent(2)) {
    engine.observe(rows);
    return none(call.env);
  }
  engine.observe(rows, call.arrayOfAtLeast<float>(2, rows.size() * engine.config().dim, "sums"));
  return none(call.env);
}

napi_value begin(const Call& call) {
  Engine& engine = engineOf(call);
  BeginRow row{};
  row.slot = indexBelow("slot", call.number(1), engine.capacity.slots);
  row.contextId = indexBelow("contextId", call.number(2), engine.capacity.contexts);
  row.seed = uint64_t(wordFrom("seed", call.number(4))) << 32 | wordFrom("seed", call.number(3));
  row.candidate = wordFrom("candidate", call.number(5));
  if (!call.absent(6)) {
    size_t length = 0;
    const double* clamped = call.array<double>(6, length);
    if (length == 0) throw Refusal{"clamped", "one token for each position", 0};
    for (size_t i = 0; i < length; i++)
      row.clamped.push_back(indexBelow("clamped", clamped[i] + 1, double(engine.config().vocab) + 1) - 1);
  }
  if (!call.absent(7)) row.start = call.array<float>(7, row.startCount);
  engine.begin(row);
  return none(call.env);
}

RowResult* resultsOf(const Call& call, size_t rows) {
  constexpr size_t width = sizeof(RowResult) / sizeof(double);
  return reinterpret_cast<RowResult*>(call.arrayOfAtLeast<double>(2, rows * width, "results"));
}

DescendRow descendRow(const Engine& engine, RowReader& reader, int slot) {
  DescendRow row{};
  row.slot = slot;
  row.landscape = reader.index("landscape", engine.config().landscapes);
  row.step = reader.index("step", 2147483647);
  row.alpha = float(reader.next());
  row.noise = reader.next();
  row.acceptLower = reader.next() != 0;
  return row;
}

Interrupt interruptOf(const Call& call, size_t argument) {
  if (call.absent(argument)) return {nullptr};
  size_t length = 0;
  const int32_t* counts = call.array<int32_t>(argument, length);
  if (length < 2) throw Refusal{"interrupt", "an array of two counts", double(length)};
  return {counts};
}

// Argument 4: index of a row, 1 for logits, 2 for points or 3 for both. Argument 5: their numbers, one after the
// other; they are read until the call returns.
void takePushes(const Call& call, const Engine& engine, std::vector<DescendRow>& rows) {
  if (call.absent(4)) return;
  size_t length = 0, count = 0, at = 0;
  const double* given = call.array<double>(4, length);
  const float* values = call.array<float>(5, count);
  const size_t k = engine.config().block;
  const auto take = [&](size_t numbers) {
    if (at + numbers > count) throw Refusal{"push", "all numbers of each row", double(count)};
    const float* part = values + at;
    at += numbers;
    return part;
  };
  RowReader reader(given, length);
  while (reader.more()) {
    Push& push = rows[reader.index("push", double(rows.size()))].push;
    const int kinds = reader.index("push", 4);
    if (kinds & 1) push.logits = take(k * engine.config().vocab);
    if (kinds & 2) push.points = take(k * engine.config().dim);
  }
}

napi_value descend(const Call& call) {
  constexpr size_t width = 6;
  Engine& engine = engineOf(call);
  size_t length = 0;
  const double* data = call.array<double>(1, length);
  const size_t count = length / width;
  RowResult* results = resultsOf(call, count);
  thread_local std::vector<DescendRow> rows;
  rows.clear();
  RowReader reader(data, length);
  while (reader.more()) {
    const int slot = reader.index("slot", engine.capacity.slots);
    rows.push_back(descendRow(engine, reader, slot));
  }
  takePushes(call, engine, rows);
  return numberOf(call.env, double(engine.descend(rows, results, interruptOf(call, 3))));
}

napi_value multiStep(const Call& call) {
  Engine& engine = engineOf(call);
  size_t length = 0;
  const double* data = call.array<double>(1, length);
  RowReader reader(data, length);
  MultiStepRow row{};
  const int slot = reader.index("slot", engine.capacity.slots);
  row.observe.contextId = reader.index("contextId", engine.capacity.contexts);
  row.observe.from = reader.index("from", engine.config().contextLength);
  row.observe.tokens = {reader.index("token", engine.config().vocab)};
  const uint32_t low = reader.word("seed");
  row.seed = uint64_t(reader.word("seed")) << 32 | low;
  row.answer = reader.word("answer");
  row.draw = reader.word("draw");
  row.best = reader.next() != 0;
  row.temperature = float(reader.next());
  if (!(row.temperature >= 0 && row.temperature < 1e30f)) throw Refusal{"temperature", "0 or more", row.temperature};
  row.end = indexBelow("end", reader.next() + 1, double(engine.config().vocab) + 1) - 1;
  row.most = reader.index("most", 1e6);
  row.seconds = reader.next();
  const size_t steps = reader.countLeft();
  for (size_t i = 0; i < steps; i++) row.steps.push_back(descendRow(engine, reader, slot));
  while (reader.more()) row.observe.pages.push_back(reader.index("pages", engine.capacity.pages));
  double* out = call.arrayOfAtLeast<double>(2, row.width() * row.most, "results");
  return numberOf(call.env, engine.multiStep(std::move(row), out, interruptOf(call, 3)));
}

napi_value energy(const Call& call) {
  Engine& engine = engineOf(call);
  size_t length = 0;
  const double* data = call.array<double>(1, length);
  RowReader reader(data, length);
  std::vector<EnergyRow> rows;
  while (reader.more()) {
    EnergyRow row{-1, -1, 0, {}};
    if (reader.index("rows", 2) == 0) row.slot = reader.index("slot", engine.capacity.slots);
    else row.contextId = reader.index("contextId", engine.capacity.contexts);
    row.landscape = reader.index("landscape", engine.config().landscapes);
    row.answer = reader.indices("answer", reader.countLeft(), engine.config().vocab);
    rows.push_back(std::move(row));
  }
  engine.energy(rows, resultsOf(call, rows.size()));
  return none(call.env);
}

napi_value read(const Call& call) {
  Engine& engine = engineOf(call);
  const size_t k = engine.config().block, vocab = engine.config().vocab;
  const int slot = indexBelow("slot", call.number(1), engine.capacity.slots);
  const Which which = Which(indexBelow("which", call.number(2), 3));
  const int top = indexBelow("top", call.number(3), double(vocab) + 1);
  const double temperature = call.number(4);
  if (!(temperature >= 0 && temperature < 1e30)) throw Refusal{"temperature", "0 or more", temperature};
  size_t tokens = 0, logProbs = 0, logits = 0;
  int32_t* tokenData = call.array<int32_t>(5, tokens);
  float* logProbData = call.array<float>(6, logProbs);
  float* logitData = call.array<float>(7, logits);
  if (tokens < k * top || logProbs < k * top) throw Refusal{"top", "as many as `tokens` and `logProbs` hold", double(top)};
  if (logits != 0 && logits < k * vocab) throw Refusal{"logits", "long enough for all positions", double(logits)};
  const double* draws = nullptr;
  if (!call.absent(8)) {
    size_t drawn = 0;
    draws = call.array<double>(8, drawn);
    if (drawn < k || tokens < k || top != 0 || temperature == 0)
      throw Refusal{"draws", "one number for each position, with a temperature", double(drawn)};
  }
  const int32_t* allowed = call.absent(9) ? nullptr : call.arrayOfAtLeast<int32_t>(9, (vocab + 31) / 32, "allowed");
  engine.read(slot, which, top, float(temperature), tokenData, logProbData, logits ? logitData : nullptr, draws, allowed);
  return none(call.env);
}

napi_value point(const Call& call) {
  Engine& engine = engineOf(call);
  const int slot = indexBelow("slot", call.number(1), engine.capacity.slots);
  const int which = indexBelow("which", call.number(2), 3);
  const size_t width = which == 2 ? engine.config().stateWidth() : engine.config().dim;
  float* out = call.arrayOfAtLeast<float>(3, engine.config().block * width, "point");
  if (which == 2) engine.presentPoint(slot, out);
  else engine.answerPoint(slot, Which(which), out);
  return none(call.env);
}

napi_value tokenVectors(const Call& call) {
  Engine& engine = engineOf(call);
  size_t length = 0;
  const double* data = call.array<double>(1, length);
  const std::vector<int> tokens = RowReader(data, length).indices("token", length, engine.config().vocab);
  engine.tokenVectors(tokens, call.arrayOfAtLeast<float>(2, length * engine.config().dim, "vectors"));
  return none(call.env);
}

napi_value save(const Call& call) {
  Engine& engine = engineOf(call);
  const int slot = indexBelow("slot", call.number(1), engine.capacity.slots);
  double* numbers = call.arrayOfAtLeast<double>(2, engine.savedNumbers(), "numbers");
  engine.save(slot, numbers, call.arrayOfAtLeast<float>(3, engine.savedValues(), "values"));
  return none(call.env);
}

napi_value restore(const Call& call) {
  Engine& engine = engineOf(call);
  const int slot = indexBelow("slot", call.number(1), engine.capacity.slots);
  const int contextId = indexBelow("contextId", call.number(2), engine.capacity.contexts);
  const double* numbers = call.arrayOfAtLeast<double>(3, engine.savedNumbers(), "numbers");
  engine.restore(slot, contextId, numbers, call.arrayOfAtLeast<float>(4, engine.savedValues(), "values"));
  return none(call.env);
}

napi_value observed(const Call& call) {
  Engine& engine = engineOf(call);
  const int contextId = indexBelow("contextId", call.number(1), engine.capacity.contexts);
  return numberOf(call.env, engine.observedTokens(contextId));
}

napi_value release(const Call& call) {
  Engine& engine = engineOf(call);
  const double contextId = call.number(1);
  if (contextId >= 0 && contextId < engine.capacity.contexts && contextId == std::floor(contextId))
    engine.release(int(contextId));
  return none(call.env);
}

napi_value describe(const Call& call) {
  Engine& engine = engineOf(call);
  napi_value object, backend;
  require(napi_create_object(call.env, &object) == napi_ok, "no object");
  napi_create_string_utf8(call.env, engine.kernelTable().name, NAPI_AUTO_LENGTH, &backend);
  setProperty(call.env, object, "backend", backend);
  setProperty(call.env, object, "bytes", numberOf(call.env, double(engine.bytes())));
  setProperty(call.env, object, "stepBytes", numberOf(call.env, engine.weights().stepBytes()));
  return object;
}

napi_value measure(const Call& call) {
  Engine& engine = engineOf(call);
  const Peak peak = measurePeak(engine.threads(), engine.kernelTable());
  napi_value object;
  require(napi_create_object(call.env, &object) == napi_ok, "no object");
  setProperty(call.env, object, "flops", numberOf(call.env, peak.flops));
  setProperty(call.env, object, "bytesPerSecond", numberOf(call.env, peak.bytesPerSecond));
  return object;
}

napi_value init(napi_env env, napi_value exports) {
  add<open>(env, exports, "open");
  add<close>(env, exports, "close");
  add<observe>(env, exports, "observe");
  add<begin>(env, exports, "begin");
  add<descend>(env, exports, "descend");
  add<multiStep>(env, exports, "multiStep");
  add<energy>(env, exports, "energy");
  add<read>(env, exports, "read");
  add<point>(env, exports, "point");
  add<tokenVectors>(env, exports, "tokenVectors");
  add<save>(env, exports, "save");
  add<restore>(env, exports, "restore");
  add<observed>(env, exports, "observed");
  add<release>(env, exports, "release");
  add<describe>(env, exports, "describe");
  add<measure>(env, exports, "measure");
  registerTraining(env, exports);
  return exports;
}

}  // namespace
}  // namespace basin

NAPI_MODULE_INIT() { return basin::init(env, exports); }

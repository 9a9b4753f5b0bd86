// Registers the trainer with Node. The typed surface is src/energy/native/addon.ts.
#include "addon/training_addon.h"

#include "addon/boundary.h"
#include "training/trainer.h"

namespace basin {
namespace {

constexpr napi_type_tag trainerTag = {0x2f0c71aa5be94d11ULL, 0xb1d05c33f6a8274eULL};

Trainer& trainerOf(const Call& call) { return call.wrapped<Trainer>(trainerTag, "a trainer"); }

// An ArrayBuffer over memory, which keeps the memory alive.
napi_value viewOf(napi_env env, const std::shared_ptr<void>& data, size_t bytes) {
  napi_value view;
  auto* baseCopies = new std::shared_ptr<void>(data);
  const napi_status status = napi_create_external_arraybuffer(
      env, data.get(), bytes, [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<void>*>(hint); }, baseCopies, &view);
  if (status != napi_ok) delete baseCopies;
  require(status == napi_ok, "no array buffer");
  return view;
}

// threads -> { handle, command }
napi_value openTrainer(const Call& call) {
  const int threads = indexBelow("threads", call.number(0), 1025);
  if (threads < 1) throw Refusal{"threads", "an integer from 1 to 1024", 0};
  auto trainer = std::make_unique<Trainer>(threads);
  napi_value object, handle, buffer, command;
  require(napi_create_object(call.env, &object) == napi_ok && napi_create_object(call.env, &handle) == napi_ok, "no object");
  double* const words = trainer->command.get();
  buffer = viewOf(call.env, trainer->command, commandLength * sizeof(*words));
  require(napi_create_typedarray(call.env, napi_float64_array, commandLength, buffer, 0, &command) == napi_ok, "no array");
  require(napi_type_tag_object(call.env, handle, &trainerTag) == napi_ok &&
              napi_wrap(call.env, handle, trainer.get(), [](napi_env, void* t, void*) { delete static_cast<Trainer*>(t); },
                        nullptr, nullptr) == napi_ok,
          "no handle");
  trainer.release();
  setProperty(call.env, object, "handle", handle);
  setProperty(call.env, object, "command", command);
  return object;
}

// trainer, bytes -> the block's number
napi_value take(const Call& call) {
  Trainer& trainer = trainerOf(call);
  const double bytes = call.number(1);
  if (!(bytes >= 0 && bytes <= double(size_t(1) << 42))) throw Refusal{"bytes", "an integer from 0 to 2^42", bytes};
  return numberOf(call.env, trainer.memory.take(size_t(bytes)));
}

napi_value drop(const Call& call) {
  Trainer& trainer = trainerOf(call);
  trainer.memory.drop(indexBelow("block", call.number(1), double(trainer.memory.count())));
  return none(call.env);
}

// trainer, block -> an ArrayBuffer of it
napi_value view(const Call& call) {
  Trainer& trainer = trainerOf(call);
  const Block& block = trainer.memory.at(indexBelow("block", call.number(1), double(trainer.memory.count())));
  return viewOf(call.env, block.data, block.bytes);
}

// trainer, op, numbers in the command
napi_value run(const Call& call) {
  Trainer& trainer = trainerOf(call);
  trainer.run(Op(indexBelow("op", call.number(1), double(Op::count))), size_t(indexBelow("length", call.number(2), commandLength + 1)));
  return none(call.env);
}

}  // namespace

void registerTraining(napi_env env, napi_value exports) {
  napi_value training;
  napi_create_object(env, &training);
  add<openTrainer>(env, training, "open");
  add<take>(env, training, "take");
  add<drop>(env, training, "drop");
  add<view>(env, training, "view");
  add<run>(env, training, "run");
  napi_set_named_property(env, exports, "training", training);
}

}  // namespace basin

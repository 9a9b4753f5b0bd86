// Registers the trainer with Node. The typed surface is src/energy/tfjs/native/addon.ts.
#include "register.h"

#include <new>

#include "trainer.h"

namespace basin {
namespace {

constexpr napi_type_tag trainerTag = {0x2f0c71aa5be94d11ULL, 0xb1d05c33f6a8274eULL};

// Node itself refused: a JavaScript exception is pending, or `what` becomes one.
struct Failure {
  const char* what;
};

void require(bool ok, const char* what) {
  if (!ok) throw Failure{what};
}

struct Call {
  napi_env env;
  size_t count = 3;
  napi_value values[3];

  Call(napi_env e, napi_callback_info info) : env(e) {
    require(napi_get_cb_info(env, info, &count, values, nullptr, nullptr) == napi_ok, "no arguments");
  }
  double number(size_t i) const {
    double x = 0;
    require(i < count && napi_get_value_double(env, values[i], &x) == napi_ok, "expected a number");
    return x;
  }
  Trainer& trainer() const {
    bool tagged = false;
    void* data = nullptr;
    require(count > 0 && napi_check_object_type_tag(env, values[0], &trainerTag, &tagged) == napi_ok && tagged &&
                napi_unwrap(env, values[0], &data) == napi_ok,
            "expected a trainer");
    return *static_cast<Trainer*>(data);
  }
};

napi_value none(napi_env env) {
  napi_value value;
  napi_get_undefined(env, &value);
  return value;
}

// A view of memory that keeps it alive.
napi_value viewOf(napi_env env, const std::shared_ptr<void>& data, size_t bytes) {
  napi_value view;
  auto* kept = new std::shared_ptr<void>(data);
  const napi_status status = napi_create_external_arraybuffer(
      env, data.get(), bytes, [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<void>*>(hint); }, kept, &view);
  if (status != napi_ok) delete kept;
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
  napi_set_named_property(call.env, object, "handle", handle);
  napi_set_named_property(call.env, object, "command", command);
  return object;
}

// trainer, bytes -> the block's number
napi_value take(const Call& call) {
  Trainer& trainer = call.trainer();
  const double bytes = call.number(1);
  if (!(bytes >= 0 && bytes <= double(size_t(1) << 42))) throw Refusal{"bytes", "an integer from 0 to 2^42", bytes};
  napi_value id;
  require(napi_create_double(call.env, trainer.memory.take(size_t(bytes)), &id) == napi_ok, "no number");
  return id;
}

napi_value drop(const Call& call) {
  Trainer& trainer = call.trainer();
  trainer.memory.drop(indexBelow("block", call.number(1), double(trainer.memory.count())));
  return none(call.env);
}

// trainer, block -> an ArrayBuffer of it
napi_value view(const Call& call) {
  Trainer& trainer = call.trainer();
  const Block& block = trainer.memory.at(indexBelow("block", call.number(1), double(trainer.memory.count())));
  return viewOf(call.env, block.data, block.bytes);
}

// trainer, op, numbers in the command
napi_value run(const Call& call) {
  Trainer& trainer = call.trainer();
  trainer.run(Op(indexBelow("op", call.number(1), double(Op::count))), size_t(indexBelow("length", call.number(2), commandLength + 1)));
  return none(call.env);
}

// Refusals carry what src/energy/native/addon.ts reads from the engine's.
void throwRefusal(napi_env env, const Refusal& refusal) {
  napi_value message, param, bound, value, error;
  const std::string text = refusal.param + " must be " + refusal.bound;
  napi_create_string_utf8(env, text.c_str(), text.size(), &message);
  napi_create_string_utf8(env, refusal.param.c_str(), refusal.param.size(), &param);
  napi_create_string_utf8(env, refusal.bound.c_str(), refusal.bound.size(), &bound);
  napi_create_double(env, refusal.value, &value);
  napi_create_error(env, nullptr, message, &error);
  napi_set_named_property(env, error, "param", param);
  napi_set_named_property(env, error, "bound", bound);
  napi_set_named_property(env, error, "value", value);
  napi_throw(env, error);
}

template <napi_value (*verb)(const Call&)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return verb(Call(env, info));
  } catch (const Refusal& refusal) {
    throwRefusal(env, refusal);
  } catch (const Failure& failure) {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending) napi_throw_type_error(env, nullptr, failure.what);
  } catch (const std::bad_alloc&) {
    throwRefusal(env, {"memory", "what this machine can give", 0});
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return nullptr;
}

template <napi_value (*verb)(const Call&)>
void add(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, guarded<verb>, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
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

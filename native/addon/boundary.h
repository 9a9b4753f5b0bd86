// What every function of the addon needs of Node: arguments in, values out, and C++ exceptions turned into
// JavaScript's. A Refusal becomes an Error with `param`, `bound` and `value`, which src/energy/native/addon.ts
// turns into an error of the table.
#pragma once
#define NAPI_VERSION 8
#include <node_api.h>

#include <new>
#include <string>
#include <type_traits>

#include "runtime/refusal.h"

namespace basin {

constexpr size_t mostArguments = 10;

// A call to Node failed: a JavaScript exception is pending, or `what` becomes one.
struct Failure {
  std::string what;
};

inline void require(bool ok, const char* what) {
  if (!ok) throw Failure{what};
}

// The arguments of one call from JavaScript.
class Call {
 public:
  Call(napi_env e, napi_callback_info info) : env(e) {
    count = mostArguments;
    require(napi_get_cb_info(env, info, &count, values, nullptr, nullptr) == napi_ok, "no arguments");
  }

  double number(size_t i) const {
    double x = 0;
    require(i < count && napi_get_value_double(env, values[i], &x) == napi_ok, "expected a number");
    return x;
  }

  bool absent(size_t i) const {
    if (i >= count) return true;
    napi_valuetype type = napi_undefined;
    napi_typeof(env, values[i], &type);
    return type == napi_undefined || type == napi_null;
  }

  template <class T>
  T* array(size_t i, size_t& length) const {
    require(i < count, "expected a typed array");
    return arrayOf<T>(env, values[i], length);
  }

  // An array of at least `wanted` numbers.
  template <class T>
  T* arrayOfAtLeast(size_t i, size_t wanted, const char* param) const {
    size_t length = 0;
    T* data = array<T>(i, length);
    if (length < wanted) throw Refusal{param, "an array of at least " + std::to_string(wanted) + " numbers", double(length)};
    return data;
  }

  template <class T>
  static T* arrayOf(napi_env env, napi_value value, size_t& length) {
    bool is = false;
    require(napi_is_typedarray(env, value, &is) == napi_ok && is, "expected a typed array");
    napi_typedarray_type type;
    void* data = nullptr;
    require(napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) == napi_ok, "bad array");
    const napi_typedarray_type wanted = std::is_same<T, double>::value    ? napi_float64_array
                                        : std::is_same<T, int32_t>::value ? napi_int32_array
                                                                          : napi_float32_array;
    require(type == wanted, "a typed array of the wrong type");
    return static_cast<T*>(data);
  }

  napi_value object(size_t i) const {
    napi_valuetype type = napi_undefined;
    require(i < count && napi_typeof(env, values[i], &type) == napi_ok && type == napi_object, "expected an object");
    return values[i];
  }

  // The object of `tag` that argument 0 wraps.
  template <class T>
  T& wrapped(const napi_type_tag& tag, const char* kind) const {
    bool tagged = false;
    void* data = nullptr;
    const std::string what = kind;
    if (napi_check_object_type_tag(env, object(0), &tag, &tagged) != napi_ok || !tagged) throw Failure{"expected " + what};
    if (napi_unwrap(env, values[0], &data) != napi_ok || !data) throw Failure{"expected " + what + ", not a closed one"};
    return *static_cast<T*>(data);
  }

  const napi_env env;

 private:
  size_t count;
  napi_value values[mostArguments];
};

inline double property(napi_env env, napi_value object, const char* name) {
  napi_value value;
  double x = 0;
  require(napi_get_named_property(env, object, name, &value) == napi_ok && napi_get_value_double(env, value, &x) == napi_ok, name);
  return x;
}

inline int whole(napi_env env, napi_value object, const char* name, double limit) {
  return indexBelow(name, property(env, object, name), limit);
}

inline napi_value none(napi_env env) {
  napi_value value;
  napi_get_undefined(env, &value);
  return value;
}

inline napi_value numberOf(napi_env env, double x) {
  napi_value value;
  napi_create_double(env, x, &value);
  return value;
}

inline void setProperty(napi_env env, napi_value object, const char* name, napi_value value) {
  require(napi_set_named_property(env, object, name, value) == napi_ok, name);
}

inline void throwRefusal(napi_env env, const Refusal& refusal) {
  napi_value message, param, bound, error;
  const std::string text = refusal.param + " must be " + refusal.bound;
  napi_create_string_utf8(env, text.c_str(), text.size(), &message);
  napi_create_string_utf8(env, refusal.param.c_str(), refusal.param.size(), &param);
  napi_create_string_utf8(env, refusal.bound.c_str(), refusal.bound.size(), &bound);
  napi_create_error(env, nullptr, message, &error);
  napi_set_named_property(env, error, "param", param);
  napi_set_named_property(env, error, "bound", bound);
  napi_set_named_property(env, error, "value", numberOf(env, refusal.value));
  napi_throw(env, error);
}

// The one place between C++ exceptions and JavaScript's.
template <napi_value (*verb)(const Call&)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return verb(Call(env, info));
  } catch (const Refusal& refusal) {
    throwRefusal(env, refusal);
  } catch (const Failure& failure) {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending) napi_throw_type_error(env, nullptr, failure.what.c_str());
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

}  // namespace basin

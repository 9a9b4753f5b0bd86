// Adds the functions of the trainer to those of the addon.
#pragma once
#define NAPI_VERSION 8
#include <node_api.h>

namespace basin {
void registerTraining(napi_env env, napi_value exports);
}

#pragma once

#include <napi.h>

#include "binding/arguments.h"

namespace kernels::binding {

// Designated initializers are evaluated in order, so the fields read the arguments one by one.
// Every op starts with its device and ends with the enqueued call; nothing is returned.
template <auto Check, auto Run, class Args>
Napi::Value Enqueue(const Napi::CallbackInfo& info, const char* op, Args (*read)(Arguments&)) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in(op, info);
    kernels::Device& device = *in.Device().device;
    const Args args = read(in);
    Check(args);
    device.Enqueue([&device, args] { Run(device.context(), args); });
    return info.Env().Undefined();
  });
}

}  // namespace kernels::binding

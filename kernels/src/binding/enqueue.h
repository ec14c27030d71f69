#pragma once

#include <napi.h>

#include <type_traits>

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
    if (device.accelerator() == nullptr) {
      device.Enqueue([&device, args] { Run(device.context(), args); });
    } else {
      static_assert(std::is_trivially_copyable_v<Args>);  // it goes to a library of its own
      device.Enqueue([run = device.accelerator()->Find(op, sizeof(Args)), args] { run(&args); });
    }
    return info.Env().Undefined();
  });
}

}  // namespace kernels::binding

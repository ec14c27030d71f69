#pragma once

#include "core/cpu_features.h"
#include "core/read_ahead.h"
#include "core/thread_pool.h"

namespace kernels {

// What an operation gets besides its arguments when it runs on the device's thread.
struct Context {
  ThreadPool& pool;
  ReadAhead& read_ahead;
  Isa isa;  // the highest level this device may use
};

}  // namespace kernels

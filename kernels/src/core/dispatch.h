#pragma once

#include <cstddef>
#include <string>

#include "core/context.h"
#include "core/error.h"

namespace kernels {

// One implementation of an operation. `declines` returns null when it can run, or the reason why
// not.
template <class Args>
struct Candidate {
  const char* name;
  Isa needs;
  const char* (*declines)(const Args& args);
  void (*run)(const Context& context, const Args& args);
};

template <class Args>
const char* Never(const Args&) {
  return nullptr;
}

// Runs the first candidate (they are listed fastest first) that the device allows and that does not
// decline; otherwise throws kUnsupported with every reason.
template <class Args, size_t N>
void Dispatch(const char* op, const Candidate<Args> (&candidates)[N], const Context& context,
              const Args& args) {
  std::string reasons;
  for (const Candidate<Args>& candidate : candidates) {
    const char* reason = candidate.needs > context.isa
                             ? "the device does not allow its instructions"
                             : candidate.declines(args);
    if (reason == nullptr) {
      candidate.run(context, args);
      return;
    }
    reasons += std::string(reasons.empty() ? "" : "; ") + candidate.name + ": " + reason;
  }
  throw Error(Code::kUnsupported, std::string(op) + ": no implementation fits (" + reasons + ")");
}

}  // namespace kernels

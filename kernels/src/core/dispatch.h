#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

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

// The implementations of one operation, fastest first, without what they run.
struct Listing {
  const char* operation;
  struct Entry {
    const char* name;
    Isa needs;
  };
  std::vector<Entry> implementations;
};

// Every operation that has a choice, in the order in which the linker placed them.
std::vector<Listing>& Listings();

// An operation under its name. Lives at namespace scope beside its candidates, so that it is listed
// as soon as the addon is loaded.
template <class Args, size_t N>
class Operation {
 public:
  Operation(const char* name, const Candidate<Args> (&candidates)[N])
      : name_(name), candidates_(candidates) {
    Listing listing{name, {}};
    for (const Candidate<Args>& each : candidates) {
      listing.implementations.push_back({each.name, each.needs});
    }
    Listings().push_back(std::move(listing));
  }

  void Run(const Context& context, const Args& args) const {
    Dispatch(name_, candidates_, context, args);
  }

 private:
  const char* name_;
  const Candidate<Args> (&candidates_)[N];
};

}  // namespace kernels

#pragma once

#include <cstdio>
#include <exception>
#include <new>

#include "core/error.h"
#include "cuda/backend.h"

// Errors on their way over the border, in either direction.
namespace kernels::cuda {

inline void Describe(const std::exception& error, Code code, Failure* failure) {
  failure->code = code;
  std::snprintf(failure->message, sizeof failure->message, "%s", error.what());
}

// Runs `body`; what it throws becomes a failure.
template <class Body>
bool Protect(Failure* failure, Body body) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    Describe(error, error.code(), failure);
  } catch (const std::bad_alloc& error) {
    Describe(error, Code::kOutOfMemory, failure);
  } catch (const std::exception& error) {
    Describe(error, Code::kInternal, failure);
  }
  return false;
}

}  // namespace kernels::cuda

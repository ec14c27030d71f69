#pragma once

#include <stdexcept>
#include <string>

namespace kernels {

// The closed set of reasons a kernel refuses or fails; `kernels/errors.ts` mirrors the names.
enum class Code { kShape, kDtype, kValue, kUnsupported, kOutOfMemory, kFile, kDevice, kInternal };

constexpr const char* CodeName(Code code) {
  switch (code) {
    case Code::kShape:
      return "KERNEL_SHAPE";
    case Code::kDtype:
      return "KERNEL_DTYPE";
    case Code::kValue:
      return "KERNEL_VALUE";
    case Code::kUnsupported:
      return "KERNEL_UNSUPPORTED";
    case Code::kOutOfMemory:
      return "KERNEL_OUT_OF_MEMORY";
    case Code::kFile:
      return "KERNEL_FILE";
    case Code::kDevice:
      return "KERNEL_DEVICE";
    case Code::kInternal:
      return "KERNEL_INTERNAL";
  }
  return "KERNEL_INTERNAL";
}

class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

}  // namespace kernels

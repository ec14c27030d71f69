#include "core/check.h"

namespace kernels {

std::string Describe(const Tensor& tensor) {
  if (tensor.empty()) return "nothing";
  std::string text = "[";
  for (int i = 0; i < tensor.rank; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(tensor.shape[i]);
  }
  return text + "] " + DTypeName(tensor.dtype);
}

namespace {

std::string DescribeShape(std::initializer_list<int64_t> shape) {
  std::string text = "[";
  for (int64_t extent : shape) {
    if (text.size() > 1) text += ", ";
    text += extent == kAny ? "any" : std::to_string(extent);
  }
  return text + "]";
}

void RequireShape(const char* op, const char* name, const Tensor& tensor,
                  std::initializer_list<int64_t> shape) {
  bool same = !tensor.empty() && tensor.rank == static_cast<int>(shape.size());
  int i = 0;
  for (int64_t extent : shape) {
    if (same && extent != kAny && tensor.shape[i] != extent) same = false;
    ++i;
  }
  Require(
      same, Code::kShape, op,
      std::string(name) + " is " + Describe(tensor) + "; expected shape " + DescribeShape(shape));
  const bool dense =
      tensor.rank == 0 || tensor.stride[tensor.rank - 1] == 1 || tensor.shape[tensor.rank - 1] <= 1;
  Require(dense, Code::kShape, op, std::string(name) + " must be dense in its last dimension");
}

}  // namespace

void Require(bool condition, Code code, const char* op, const std::string& message) {
  if (!condition) throw Error(code, std::string(op) + ": " + message);
}

void RequireTensor(const char* op, const char* name, const Tensor& tensor, DType dtype,
                   std::initializer_list<int64_t> shape) {
  RequireShape(op, name, tensor, shape);
  Require(tensor.dtype == dtype, Code::kDtype, op,
          std::string(name) + " is " + Describe(tensor) + "; expected dtype " + DTypeName(dtype));
}

void RequireFloatTensor(const char* op, const char* name, const Tensor& tensor,
                        std::initializer_list<int64_t> shape) {
  RequireShape(op, name, tensor, shape);
  Require(IsFloat(tensor.dtype), Code::kDtype, op,
          std::string(name) + " is " + Describe(tensor) + "; expected f32, f16 or bf16");
}

void RequireDense(const char* op, const char* name, const Tensor& tensor, DType dtype,
                  std::initializer_list<int64_t> shape) {
  RequireTensor(op, name, tensor, dtype, shape);
  Require(tensor.contiguous(), Code::kShape, op, std::string(name) + " must be contiguous");
}

}  // namespace kernels

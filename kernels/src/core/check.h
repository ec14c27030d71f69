#pragma once

#include <initializer_list>
#include <string>

#include "core/error.h"
#include "core/tensor.h"

// What an op's Check() is written with. It guards memory safety; TypeScript gives friendlier
// messages for mistakes a user can make. Every function throws Error and names op and argument.
namespace kernels {

constexpr int64_t kAny = -1;  // matches every extent

// The tensor exists, has this dtype and shape, and its innermost dimension is dense.
void RequireTensor(const char* op, const char* name, const Tensor& tensor, DType dtype,
                   std::initializer_list<int64_t> shape);

// Like RequireTensor for any of f32, f16 and bf16.
void RequireFloatTensor(const char* op, const char* name, const Tensor& tensor,
                        std::initializer_list<int64_t> shape);

// Like RequireTensor, and dense in every dimension.
void RequireDense(const char* op, const char* name, const Tensor& tensor, DType dtype,
                  std::initializer_list<int64_t> shape);

void Require(bool condition, Code code, const char* op, const std::string& message);

}  // namespace kernels

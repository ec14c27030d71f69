#include "binding/arguments.h"

#include <cmath>

namespace kernels::binding {

namespace {

// Views with interleaved rows count as overlapping.
bool Overlap(const Tensor& a, const Tensor& b) {
  return a.data < b.data + b.extent() && b.data < a.data + a.extent();
}

}  // namespace

Napi::Value Arguments::Next() {
  return info_[index_++];
}

void Arguments::Fail(const char* expected) {
  throw Error(Code::kValue,
              std::string(op_) + ": argument " + std::to_string(index_) + " is not " + expected);
}

DeviceHandle& Arguments::Device() {
  DeviceHandle& handle = UnwrapDevice(Next());
  device_ = handle.device.get();
  return handle;
}

void Arguments::RequireForTensor(bool condition, const std::string& problem) {
  if (condition) return;
  throw Error(Code::kValue, std::string(op_) + ": argument " + std::to_string(index_) + problem);
}

Tensor Arguments::View(const Napi::Value& value, bool written) {
  const TensorHandle& handle = UnwrapTensor(value);
  RequireForTensor(handle.storage != nullptr, " was disposed");
  RequireForTensor(device_ == nullptr || device_ == handle.storage->device().get(),
                   " lives on another device; copy it there first");
  RequireForTensor(!written || handle.storage->writable(),
                   " would be written, but is a mapped file; copy it first");
  handle.storage->BeforeUse();
  const std::shared_ptr<Recording>& recording = handle.storage->device()->recording;
  if (recording != nullptr) recording->Use(handle.storage);
  return handle.view;
}

void Arguments::RequireUnshared(const kernels::Tensor& tensor, bool written) {
  for (const Use& other : uses_) {
    RequireForTensor((!written && !other.written) || !Overlap(tensor, other.tensor),
                     " shares memory with argument " + std::to_string(other.index) +
                         ", and one of them is written");
  }
  uses_.push_back({tensor, written, index_});
}

Tensor Arguments::Tensor() {
  const kernels::Tensor tensor = View(Next(), false);
  RequireUnshared(tensor, false);
  return tensor;
}

Tensor Arguments::Output() {
  const kernels::Tensor tensor = View(Next(), true);
  RequireUnshared(tensor, true);
  return tensor;
}

Tensor Arguments::InPlaceOutput() {
  return View(Next(), true);
}

bool Arguments::SkipNull() {
  const Napi::Value value = info_[index_];
  if (!value.IsNull() && !value.IsUndefined()) return false;
  ++index_;
  return true;
}

Tensor Arguments::OptionalTensor() {
  return SkipNull() ? kernels::Tensor{} : Tensor();
}

Tensor Arguments::OptionalOutput() {
  return SkipNull() ? kernels::Tensor{} : Output();
}

int64_t Arguments::Integer() {
  const Napi::Value value = Next();
  if (!value.IsNumber()) Fail("an integer");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (std::trunc(number) != number || std::fabs(number) > 9007199254740991.0) Fail("an integer");
  return static_cast<int64_t>(number);
}

int64_t Arguments::Integer(int64_t lowest, int64_t highest) {
  const int64_t number = Integer();
  if (number < lowest || number > highest) {
    throw Error(Code::kValue, std::string(op_) + ": argument " + std::to_string(index_) + " is " +
                                  std::to_string(number) + "; expected " + std::to_string(lowest) +
                                  " to " + std::to_string(highest));
  }
  return number;
}

float Arguments::Float() {
  const Napi::Value value = Next();
  if (!value.IsNumber()) Fail("a number");
  return value.As<Napi::Number>().FloatValue();
}

bool Arguments::Boolean() {
  const Napi::Value value = Next();
  if (!value.IsBoolean()) Fail("a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string Arguments::String() {
  const Napi::Value value = Next();
  if (!value.IsString()) Fail("a string");
  return value.As<Napi::String>().Utf8Value();
}

DType Arguments::Dtype() {
  return ParseDType(op_, String());
}

Napi::Value Arguments::Any() {
  return Next();
}

DType ParseDType(const char* op, const std::string& name) {
  for (const DType dtype :
       {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64, DType::kU8}) {
    if (name == DTypeName(dtype)) return dtype;
  }
  throw Error(Code::kDtype, std::string(op) + ": there is no dtype \"" + name + "\"");
}

}  // namespace kernels::binding

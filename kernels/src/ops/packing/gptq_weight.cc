#include "ops/packing/gptq_weight.h"

#include <string>

#include "core/check.h"

namespace kernels {

void CheckBits(const char* op, int bits) {
  Require(bits == 2 || bits == 3 || bits == 4 || bits == 8, Code::kValue, op,
          "bits is " + std::to_string(bits) + "; expected 2, 3, 4 or 8");
}

void CheckProductBits(const char* op, int bits) {
  Require(bits == 4 || bits == 8, Code::kValue, op,
          "bits is " + std::to_string(bits) + "; expected 4 or 8");
}

void CheckZeroOffset(const char* op, int zero_offset) {
  Require(zero_offset == 0 || zero_offset == 1, Code::kValue, op,
          "zero_offset is " + std::to_string(zero_offset) + "; expected 0 or 1");
}

void CheckGptqWeight(const char* op, const GptqWeight& weight, int64_t in, int64_t out) {
  CheckBits(op, weight.bits);
  CheckZeroOffset(op, weight.zero_offset);
  const int64_t unit = UnitCodes(weight.bits);
  Require(in % unit == 0 && out % unit == 0, Code::kShape, op,
          "in is " + std::to_string(in) + " and out is " + std::to_string(out) +
              "; both must be multiples of " + std::to_string(unit) +
              ", the codes that fill whole words");
  RequireTensor(op, "qweight", weight.qweight, DType::kI32, {in * weight.bits / 32, out});
  RequireFloatTensor(op, "scales", weight.scales, {kAny, out});
  RequireTensor(op, "qzeros", weight.qzeros, DType::kI32,
                {weight.Groups(), out * weight.bits / 32});
  if (!weight.group_index.empty()) {
    RequireTensor(op, "group_index", weight.group_index, DType::kI32, {in});
    return;
  }
  const int64_t size = weight.group_size;
  Require(size > 0, Code::kValue, op,
          "group_size is " + std::to_string(size) + "; expected at least 1");
  const int64_t groups = in / size + (in % size != 0);
  Require(weight.Groups() == groups, Code::kShape, op,
          "scales is " + Describe(weight.scales) + "; " + std::to_string(in) +
              " inputs in groups of " + std::to_string(size) + " need " + std::to_string(groups) +
              " rows");
}

std::vector<int32_t> GroupOfInputs(const char* op, const GptqWeight& weight, int64_t in) {
  std::vector<int32_t> groups(static_cast<size_t>(in));
  if (weight.group_index.empty()) {
    for (int64_t first = 0, group = 0; first < in; first += weight.group_size, ++group) {
      const int64_t left = in - first;
      const int64_t count = left < weight.group_size ? left : weight.group_size;
      for (int64_t i = 0; i < count; ++i) groups[first + i] = static_cast<int32_t>(group);
    }
    return groups;
  }
  const int32_t* index = weight.group_index.As<const int32_t>();
  for (int64_t i = 0; i < in; ++i) {
    const int32_t group = index[i];
    if (group < 0 || group >= weight.Groups()) {
      throw Error(Code::kValue, std::string(op) + ": group_index of input " + std::to_string(i) +
                                    " is " + std::to_string(group) + "; expected 0 to " +
                                    std::to_string(weight.Groups() - 1));
    }
    groups[i] = group;
  }
  return groups;
}

}  // namespace kernels

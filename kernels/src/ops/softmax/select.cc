#include <bit>
#include <string>

#include "core/error.h"
#include "core/rows.h"
#include "ops/softmax/softmax.h"

namespace kernels {

namespace {

// Integers in the order of the floats. Adding zero makes -0 equal to +0. Compilers vectorize a
// maximum of integers but, because of NaN, not one of floats.
int32_t OrderedKey(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value + 0.0f);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

int32_t IsNaN(float value) {
  return (std::bit_cast<int32_t>(value) & 0x7fffffff) > 0x7f800000;
}

int32_t IndexOfLargest(const float* x, int64_t limit) {
  int32_t largest = OrderedKey(x[0]);
  int32_t nans = 0;
  for (int64_t i = 0; i < limit; ++i) {
    const int32_t key = OrderedKey(x[i]);
    largest = key > largest ? key : largest;
    nans |= IsNaN(x[i]);
  }
  if (nans != 0) return -1;
  int32_t at = 0;
  while (OrderedKey(x[at]) != largest) ++at;
  return at;
}

}  // namespace

void Pick(const Context&, const PickArgs& args) {
  const int32_t* index = args.index.As<int32_t>();
  const int64_t width = args.x.shape[1];
  for (int64_t r = 0; r < args.x.shape[0]; ++r) {
    if (index[r] < 0 || index[r] >= width) {
      throw Error(Code::kValue, "pick: index[" + std::to_string(r) + "] is " +
                                    std::to_string(index[r]) + "; the row has " +
                                    std::to_string(width) + " values");
    }
    args.y.As<float>()[r] = args.x.Row<float>(r)[index[r]];
  }
}

void Argmax(const Context& context, const ArgmaxArgs& args) {
  ForRows(context.pool, args.x.shape[0], args.limit, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      args.y.As<int32_t>()[r] = IndexOfLargest(args.x.Row<float>(r), args.limit);
    }
  });
}

}  // namespace kernels

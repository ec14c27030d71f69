#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/rows.h"
#include "ops/gather/gather.h"

namespace kernels {

namespace {

void RequireIndices(const char* op, const Tensor& index, int64_t limit, const char* of) {
  const int32_t* at = index.As<int32_t>();
  for (int64_t i = 0; i < index.shape[0]; ++i) {
    if (at[i] < 0 || at[i] >= limit) {
      throw Error(Code::kValue, std::string(op) + ": index[" + std::to_string(i) + "] is " +
                                    std::to_string(at[i]) + "; x has " + std::to_string(limit) +
                                    " " + of);
    }
  }
}

template <class T>
void GatherColumnsOf(const Context& context, const GatherColumnsArgs& args) {
  const int32_t* index = args.index.As<int32_t>();
  const int64_t count = args.index.shape[0];
  ForRows(context.pool, args.x.shape[0], count, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const T* x = args.x.Row<T>(r);
      T* y = args.y.As<T>() + r * count;
      for (int64_t i = 0; i < count; ++i) y[i] = x[index[i]];
    }
  });
}

}  // namespace

void GatherRows(const Context& context, const GatherRowsArgs& args) {
  RequireIndices("gatherRows", args.index, args.x.shape[0], "rows");
  const int32_t* index = args.index.As<int32_t>();
  const int64_t element = DTypeBytes(args.x.dtype);
  const int64_t bytes = args.x.shape[1] * element;
  ForRows(context.pool, args.index.shape[0], args.x.shape[1], [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const std::byte* from = args.x.data + index[i] * args.x.stride[0] * element;
      std::memcpy(args.y.data + i * bytes, from, bytes);
    }
  });
}

void GatherColumns(const Context& context, const GatherColumnsArgs& args) {
  RequireIndices("gatherColumns", args.index, args.x.shape[1], "columns");
  if (args.x.dtype == DType::kF32) GatherColumnsOf<float>(context, args);
  if (args.x.dtype == DType::kU8) GatherColumnsOf<uint8_t>(context, args);
}

void ZeroColumns(const Context& context, const ZeroColumnsArgs& args) {
  const float* diagonal = args.diagonal.As<float>();
  std::vector<int64_t> dead;
  for (int64_t j = 0; j < args.w.shape[1]; ++j) {
    if (diagonal[j] == 0) dead.push_back(j);
  }
  if (dead.empty()) return;
  const int64_t cost = static_cast<int64_t>(dead.size());
  ForRows(context.pool, args.w.shape[0], cost, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float* w = args.w.Row<float>(r);
      for (int64_t j : dead) w[j] = 0;
    }
  });
}

}  // namespace kernels

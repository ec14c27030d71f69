#include <algorithm>
#include <string>

#include "core/dispatch.h"
#include "core/rows.h"
#include "ops/gptq/implementations.h"

namespace kernels {

namespace {

template <void (*kRow)(const FindGridArgs&, int64_t)>
void FindGridWith(const Context& context, const FindGridArgs& args) {
  ForRows(context.pool, args.w.shape[0], args.w.shape[1], [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) kRow(args, row);
  });
}

template <void (*kRow)(const RoundToGridArgs&, int64_t)>
void RoundToGridWith(const Context& context, const RoundToGridArgs& args) {
  ForRows(context.pool, args.w.shape[0], args.w.shape[1], [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) kRow(args, row);
  });
}

template <void (*kRun)(const GptqBlockArgs&, int64_t, int, float*), int kRows>
void GptqBlockWith(const Context& context, const GptqBlockArgs& args) {
  const int64_t out = args.w.shape[0];
  const size_t bytes = GptqScratchFloats(kRows, args.end - args.begin) * sizeof(float);
  context.pool.ParallelFor((out + kRows - 1) / kRows, [&](int64_t index, int worker) {
    const int64_t first = index * kRows;
    const int rows = static_cast<int>(std::min<int64_t>(kRows, out - first));
    kRun(args, first, rows, reinterpret_cast<float*>(context.pool.Scratch(worker, bytes)));
  });
}

// Groups index scales and zeros. They are known only when the operation runs, hence not part of
// Check.
void RequireGroups(const char* op, const Tensor& column_group, int64_t first, int64_t last,
                   int64_t groups) {
  const int32_t* group = column_group.As<int32_t>();
  for (int64_t j = first; j < last; ++j) {
    if (group[j] >= 0 && group[j] < groups) continue;
    throw Error(Code::kValue, std::string(op) + ": column " + std::to_string(j) +
                                  " belongs to group " + std::to_string(group[j]) + " of " +
                                  std::to_string(groups));
  }
}

constexpr Candidate<FindGridArgs> kFindGrid[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never, FindGridWith<avx512::FindGridRow>},
    {"avx2", Isa::kAvx2, Never, FindGridWith<avx2::FindGridRow>},
#endif
    {"reference", Isa::kScalar, Never, FindGridWith<reference::FindGridRow>},
};

constexpr Candidate<RoundToGridArgs> kRoundToGrid[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never, RoundToGridWith<avx512::RoundToGridRow>},
    {"avx2", Isa::kAvx2, Never, RoundToGridWith<avx2::RoundToGridRow>},
#endif
    {"reference", Isa::kScalar, Never, RoundToGridWith<reference::RoundToGridRow>},
};

constexpr Candidate<GptqBlockArgs> kGptqBlock[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never, GptqBlockWith<avx512::GptqRows, avx512::kGptqRows>},
    {"avx2", Isa::kAvx2, Never, GptqBlockWith<avx2::GptqRows, avx2::kGptqRows>},
#endif
    {"reference", Isa::kScalar, Never, GptqBlockWith<reference::GptqRows, reference::kGptqRows>},
};

const Operation kFindGridOperation("findGrid", kFindGrid);
const Operation kRoundToGridOperation("roundToGrid", kRoundToGrid);
const Operation kGptqBlockOperation("gptqBlock", kGptqBlock);

}  // namespace

void FindGrid(const Context& context, const FindGridArgs& args) {
  kFindGridOperation.Run(context, args);
}

void RoundToGrid(const Context& context, const RoundToGridArgs& args) {
  RequireGroups("roundToGrid", args.column_group, 0, args.w.shape[1], args.scales.shape[1]);
  kRoundToGridOperation.Run(context, args);
}

void GptqBlock(const Context& context, const GptqBlockArgs& args) {
  RequireGroups("gptqBlock", args.column_group, args.begin, args.end, args.scales.shape[1]);
  kGptqBlockOperation.Run(context, args);
}

}  // namespace kernels

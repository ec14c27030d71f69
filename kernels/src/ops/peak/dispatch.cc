#include "ops/peak/peak.h"

#include <algorithm>
#include <atomic>
#include <string>

#include "core/check.h"
#include "core/dispatch.h"
#include "ops/peak/implementations.h"

namespace kernels {

namespace {

constexpr int64_t kLine = 64;

template <ReadLines read>
void ReadWith(const Context& context, const ReadAllArgs& args) {
  const int64_t lines = args.x.shape[0] / kLine;
  const int64_t step = (lines + args.pieces - 1) / args.pieces;
  std::atomic<uint64_t> all{0};
  context.pool.ParallelFor(args.pieces, [&](int64_t piece, int) {
    const int64_t begin = std::min(lines, piece * step);
    const int64_t end = std::min(lines, begin + step);
    all ^= read(args.x.As<const uint64_t>() + begin * (kLine / 8), end - begin);
  });
  const uint64_t sum = all;
  *args.y.As<int32_t>() = static_cast<int32_t>(sum ^ (sum >> 32));
}

template <RunPeak run>
void PeakWith(const Context& context, const ArithmeticPeakArgs& args) {
  std::atomic<int64_t> multiply_adds{0};
  context.pool.ParallelFor(context.pool.threads(), [&](int64_t, int) {
    multiply_adds += args.repeats * run(args.kind, args.repeats);
  });
  *args.y.As<float>() = static_cast<float>(static_cast<double>(multiply_adds) / 1e6);
}

constexpr Candidate<ReadAllArgs> kReadAll[] = {
#if defined(__x86_64__)
    {"avx512", Isa::kAvx512, Never, ReadWith<avx512::Read>},
    {"avx2", Isa::kAvx2, Never, ReadWith<avx2::Read>},
#endif
    {"reference", Isa::kScalar, Never, ReadWith<reference::Read>},
};

constexpr Candidate<ArithmeticPeakArgs> kPeak[] = {
#if defined(__x86_64__)
    {"avx512-bf16", Isa::kAvx512Bf16, Never, PeakWith<avx512bf16::Peak>},
    {"avx512-vnni", Isa::kAvx512Vnni, Never, PeakWith<avx512vnni::Peak>},
    {"avx512", Isa::kAvx512, Never, PeakWith<avx512::Peak>},
    {"avx2", Isa::kAvx2, Never, PeakWith<avx2::Peak>},
#endif
    {"reference", Isa::kScalar, Never, PeakWith<reference::Peak>},
};

const Operation kReadAllOperation("readAll", kReadAll);
const Operation kPeakOperation("arithmeticPeak", kPeak);

}  // namespace

void CheckReadAll(const ReadAllArgs& args) {
  constexpr const char* kOp = "readAll";
  RequireDense(kOp, "x", args.x, DType::kU8, {kAny});
  RequireDense(kOp, "y", args.y, DType::kI32, {1});
  Require(args.pieces >= 1, Code::kValue, kOp, "pieces must be at least 1");
  Require(reinterpret_cast<uintptr_t>(args.x.data) % kLine == 0, Code::kValue, kOp,
          "x is not aligned to a cache line");
}

void ReadAll(const Context& context, const ReadAllArgs& args) {
  kReadAllOperation.Run(context, args);
}

void CheckArithmeticPeak(const ArithmeticPeakArgs& args) {
  constexpr const char* kOp = "arithmeticPeak";
  RequireDense(kOp, "y", args.y, DType::kF32, {1});
  Require(args.repeats >= 1 && args.repeats <= int64_t{1} << 40, Code::kValue, kOp,
          "repeats is " + std::to_string(args.repeats) + "; expected 1 to 2^40");
}

void ArithmeticPeak(const Context& context, const ArithmeticPeakArgs& args) {
  kPeakOperation.Run(context, args);
}

}  // namespace kernels

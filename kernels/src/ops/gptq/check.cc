#include <string>

#include "core/check.h"
#include "ops/gptq/gptq.h"

namespace kernels {

namespace {

void RequireBits(const char* op, int bits) {
  Require(bits >= 2 && bits <= 8, Code::kValue, op,
          "bits is " + std::to_string(bits) + "; expected 2 to 8");
}

void RequireGrid(const char* op, const GridOptions& grid) {
  RequireBits(op, grid.bits);
  Require(
      IsFloat(grid.scale_dtype), Code::kDtype, op,
      std::string("scale dtype is ") + DTypeName(grid.scale_dtype) + "; expected f32, f16 or bf16");
}

void RequireScales(const char* op, const Tensor& scales, const Tensor& zeros, int64_t rows,
                   int64_t groups) {
  RequireTensor(op, "scales", scales, DType::kF32, {rows, groups});
  RequireTensor(op, "zeros", zeros, DType::kI32, {rows, scales.shape[1]});
}

void RequireImportance(const char* op, const Tensor& importance, int64_t in) {
  if (!importance.empty()) RequireDense(op, "importance", importance, DType::kF32, {in});
}

void RequireColumns(const char* op, int64_t begin, int64_t end, int64_t in) {
  Require(begin >= 0 && begin <= end && end <= in, Code::kValue, op,
          "columns " + std::to_string(begin) + " to " + std::to_string(end) +
              " do not lie within the weight's " + std::to_string(in));
}

}  // namespace

void CheckFindGrid(const FindGridArgs& args) {
  const char* op = "findGrid";
  RequireTensor(op, "w", args.w, DType::kF32, {kAny, kAny});
  RequireGrid(op, args.grid);
  Require(args.group_size >= 1, Code::kValue, op,
          "group size is " + std::to_string(args.group_size) + "; expected at least 1");
  const int64_t in = args.w.shape[1];
  RequireImportance(op, args.importance, in);
  const int64_t groups = in / args.group_size + (in % args.group_size != 0);
  RequireScales(op, args.scales, args.zeros, args.w.shape[0], groups);
}

void CheckRoundToGrid(const RoundToGridArgs& args) {
  const char* op = "roundToGrid";
  RequireTensor(op, "w", args.w, DType::kF32, {kAny, kAny});
  RequireBits(op, args.bits);
  RequireTensor(op, "columnGroup", args.column_group, DType::kI32, {args.w.shape[1]});
  RequireScales(op, args.scales, args.zeros, args.w.shape[0], kAny);
  RequireTensor(op, "codes", args.codes, DType::kU8, {args.w.shape[0], args.w.shape[1]});
}

void CheckGptqBlock(const GptqBlockArgs& args) {
  const char* op = "gptqBlock";
  RequireTensor(op, "w", args.w, DType::kF32, {kAny, kAny});
  const int64_t out = args.w.shape[0];
  const int64_t in = args.w.shape[1];
  RequireDense(op, "factor", args.factor, DType::kF32, {in, in});
  RequireColumns(op, args.begin, args.end, in);
  RequireTensor(op, "columnGroup", args.column_group, DType::kI32, {in});
  RequireGrid(op, args.grid);
  Require(args.range == RangeSource::kGiven || args.range == RangeSource::kUpdated ||
              args.range == RangeSource::kStale,
          Code::kValue, op, "range source is not one of given, updated, stale");
  RequireImportance(op, args.importance, in);
  RequireScales(op, args.scales, args.zeros, out, kAny);
  RequireTensor(op, "codes", args.codes, DType::kU8, {out, in});
  RequireDense(op, "error", args.error, DType::kF32, {out, args.end - args.begin});
}

void CheckTrailingUpdate(const TrailingUpdateArgs& args) {
  const char* op = "trailingUpdate";
  RequireTensor(op, "w", args.w, DType::kF32, {kAny, kAny});
  const int64_t in = args.w.shape[1];
  RequireTensor(op, "error", args.error, DType::kF32, {args.w.shape[0], kAny});
  RequireDense(op, "factor", args.factor, DType::kF32, {in, in});
  // Compared without adding first: a huge begin must not wrap around.
  Require(args.begin >= 0 && args.begin <= in && args.error.shape[1] <= in - args.begin,
          Code::kValue, op,
          "block of " + std::to_string(args.error.shape[1]) + " columns from " +
              std::to_string(args.begin) + " does not lie within the weight's " +
              std::to_string(in));
}

void CheckQuadraticForm(const QuadraticFormArgs& args) {
  const char* op = "quadraticForm";
  RequireTensor(op, "a", args.a, DType::kF32, {kAny, kAny});
  const int64_t out = args.a.shape[0];
  const int64_t in = args.a.shape[1];
  if (!args.b.empty()) RequireTensor(op, "b", args.b, DType::kF32, {out, in});
  RequireDense(op, "hessian", args.hessian, DType::kF32, {in, in});
  RequireTensor(op, "y", args.y, DType::kF32, {out});
}

void CheckAccumulateSquares(const AccumulateSquaresArgs& args) {
  const char* op = "accumulateSquares";
  RequireTensor(op, "a", args.a, DType::kF32, {kAny, kAny});
  const int64_t out = args.a.shape[0];
  if (!args.b.empty()) RequireTensor(op, "b", args.b, DType::kF32, {out, args.a.shape[1]});
  RequireTensor(op, "y", args.y, DType::kF32, {out});
}

}  // namespace kernels

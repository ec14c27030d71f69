#include "core/check.h"
#include "ops/rope/rope.h"

namespace kernels {

void CheckRopeTable(const RopeTableArgs& args) {
  constexpr const char* kOp = "ropeTable";
  RequireTensor(kOp, "positions", args.positions, DType::kI32, {kAny});
  const int64_t rows = args.positions.shape[0];
  RequireTensor(kOp, "row_sequence", args.row_sequence, DType::kI32, {rows});
  RequireTensor(kOp, "base", args.base, DType::kF32, {kAny});
  RequireTensor(kOp, "table", args.table, DType::kF32, {rows, kAny});
  Require(args.table.shape[1] % 2 == 0, Code::kShape, kOp,
          "table is " + Describe(args.table) + "; its rows must have an even length");
}

void CheckRope(const RopeArgs& args) {
  constexpr const char* kOp = "rope";
  RequireTensor(kOp, "x", args.x, DType::kF32, {kAny, kAny});
  RequireTensor(kOp, "table", args.table, DType::kF32, {args.x.shape[0], kAny});
  const int64_t dim = args.table.shape[1];
  Require(dim > 0 && dim % 2 == 0 && args.x.shape[1] % dim == 0, Code::kShape, kOp,
          "x is " + Describe(args.x) + " and table " + Describe(args.table) +
              "; a row of x must be whole heads of the table's even row length");
}

}  // namespace kernels

#include "core/check.h"
#include "ops/embedding/embedding.h"

namespace kernels {

void CheckEmbedding(const EmbeddingArgs& args) {
  constexpr const char* kOp = "embedding";
  RequireFloatTensor(kOp, "table", args.table, {kAny, kAny});
  RequireTensor(kOp, "ids", args.ids, DType::kI32, {kAny});
  RequireTensor(kOp, "y", args.y, DType::kF32, {args.ids.shape[0], args.table.shape[1]});
}

}  // namespace kernels

#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// y[r] = table[ids[r]]. An id outside the table is a device fault: ids are step state, so they are
// not known when the call is checked.
struct EmbeddingArgs {
  Tensor table;  // [vocabulary, width] f32 | f16 | bf16
  Tensor ids;    // [rows] i32
  Tensor y;      // [rows, width] f32, out
};
void CheckEmbedding(const EmbeddingArgs& args);
void Embedding(const Context& context, const EmbeddingArgs& args);

}  // namespace kernels

#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// The GPTQ layout: codes of 2, 3, 4 or 8 bits in 32-bit words, lowest bits first. Weights are
// packed along the inputs, zeros along the outputs. The first layout stores zero - 1, gptq_v2
// stores zero.

struct PackWeightArgs {
  Tensor codes;  // [out, in] u8
  int bits;
  Tensor qweight;  // [in * bits / 32, out] i32, out
};
void CheckPackWeight(const PackWeightArgs& args);
void PackWeight(const Context& context, const PackWeightArgs& args);

struct UnpackWeightArgs {
  Tensor qweight;  // [in * bits / 32, out] i32
  int bits;
  Tensor codes;  // [out, in] u8, out
};
void CheckUnpackWeight(const UnpackWeightArgs& args);
void UnpackWeight(const Context& context, const UnpackWeightArgs& args);

// Stores (zero - zero_offset) masked to `bits`.
struct PackZerosArgs {
  Tensor zeros;  // [out, groups] i32
  int bits;
  int zero_offset;
  Tensor qzeros;  // [groups, out * bits / 32] i32, out
};
void CheckPackZeros(const PackZerosArgs& args);
void PackZeros(const Context& context, const PackZerosArgs& args);

// zeros = (stored + zero_offset) masked to `bits`.
struct UnpackZerosArgs {
  Tensor qzeros;  // [groups, out * bits / 32] i32
  int bits;
  int zero_offset;
  Tensor zeros;  // [out, groups] i32, out
};
void CheckUnpackZeros(const UnpackZerosArgs& args);
void UnpackZeros(const Context& context, const UnpackZerosArgs& args);

// y = x^T, rounded to y's dtype: scales [out, groups] to their stored [groups, out].
struct TransposeArgs {
  Tensor x;  // [rows, columns] f32 | f16 | bf16
  Tensor y;  // [columns, rows] f32 | f16 | bf16, dense, out
};
void CheckTranspose(const TransposeArgs& args);
void Transpose(const Context& context, const TransposeArgs& args);

// y[o, i] = scales[g, o] * (q[i, o] - z[g, o]), exact in f32; fields as in LinearGptqArgs.
struct DequantizeArgs {
  Tensor qweight;      // [in * bits / 32, out] i32
  Tensor qzeros;       // [groups, out * bits / 32] i32
  Tensor scales;       // [groups, out] f16 | bf16 | f32
  Tensor group_index;  // [in] i32, or empty: i / group_size
  int bits;
  int zero_offset;
  int64_t group_size;
  Tensor y;  // [out, in] f32, out
};
void CheckDequantize(const DequantizeArgs& args);
void Dequantize(const Context& context, const DequantizeArgs& args);

}  // namespace kernels

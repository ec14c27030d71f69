#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// y[i] = x[index[i]] (rows), for any dtype. An index outside x is a device fault.
struct GatherRowsArgs {
  Tensor x;      // [rows, width]
  Tensor index;  // [count] i32
  Tensor y;      // [count, width], dense, out
};
void CheckGatherRows(const GatherRowsArgs& args);
void GatherRows(const Context& context, const GatherRowsArgs& args);

// y[r, i] = x[r, index[i]] (columns), for f32 and u8.
struct GatherColumnsArgs {
  Tensor x;      // [rows, width]
  Tensor index;  // [count] i32
  Tensor y;      // [rows, count], dense, out
};
void CheckGatherColumns(const GatherColumnsArgs& args);
void GatherColumns(const Context& context, const GatherColumnsArgs& args);

// w[:, j] = 0 wherever diagonal[j] == 0: inputs that calibration never saw.
struct ZeroColumnsArgs {
  Tensor w;         // [rows, width] f32, inout
  Tensor diagonal;  // [width] f32
};
void CheckZeroColumns(const ZeroColumnsArgs& args);
void ZeroColumns(const Context& context, const ZeroColumnsArgs& args);

}  // namespace kernels

#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// y = x - log(sum(exp(x))), per row, the sum accumulated in f64.
struct LogSoftmaxArgs {
  Tensor x;  // [rows, width] f32
  Tensor y;  // [rows, width] f32, out; may be x
};
void CheckLogSoftmax(const LogSoftmaxArgs& args);
void LogSoftmax(const Context& context, const LogSoftmaxArgs& args);

// y[r] = x[r, index[r]]. An index outside the row is a device fault.
struct PickArgs {
  Tensor x;      // [rows, width] f32
  Tensor index;  // [rows] i32
  Tensor y;      // [rows] f32, out
};
void CheckPick(const PickArgs& args);
void Pick(const Context& context, const PickArgs& args);

// y[r] = sum over the row of exp(log_p) * (log_p - log_q), accumulated in f64: KL(p || q) in nats.
struct KlDivergenceArgs {
  Tensor log_p;  // [rows, width] f32
  Tensor log_q;  // [rows, width] f32
  Tensor y;      // [rows] f32, out
};
void CheckKlDivergence(const KlDivergenceArgs& args);
void KlDivergence(const Context& context, const KlDivergenceArgs& args);

// y[r] = index of the largest of the first `limit` values of the row, the lowest index where
// several are equal; -1 where one of them is NaN. `limit` keeps padded vocabulary ids out.
struct ArgmaxArgs {
  Tensor x;  // [rows, width] f32
  int64_t limit;
  Tensor y;  // [rows] i32, out
};
void CheckArgmax(const ArgmaxArgs& args);
void Argmax(const Context& context, const ArgmaxArgs& args);

}  // namespace kernels

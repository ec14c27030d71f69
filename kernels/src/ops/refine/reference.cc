#include <cmath>

#include "ops/refine/implementations.h"

namespace kernels::reference {

namespace {

struct BlockRow {
  const RefineBlockArgs& args;
  float* residual;
  float* steps;  // code - zero
  float* product;
  float* scales;  // of the row, by group
  const int32_t* zeros;
  const int32_t* group;  // of the block's columns
  int64_t columns;

  const float* Hessian(int64_t column) const {
    return args.hessian.Row<const float>(args.begin + column) + args.begin;
  }

  void Move(float amount, const float* direction) const {
    for (int64_t j = 0; j < columns; ++j) {
      residual[j] = std::fmaf(-amount, direction[j], residual[j]);
    }
  }

  void RefineScale(int64_t begin, int64_t end) const {
    for (int64_t j = 0; j < columns; ++j) product[j] = 0.0f;
    for (int64_t i = begin; i < end; ++i) {
      const float* hessian = Hessian(i);
      for (int64_t j = 0; j < columns; ++j) {
        product[j] = std::fmaf(steps[i], hessian[j], product[j]);
      }
    }
    float gradient = 0.0f;
    float curvature = 0.0f;
    for (int64_t j = begin; j < end; ++j) {
      gradient = std::fmaf(steps[j], residual[j], gradient);
      curvature = std::fmaf(steps[j], product[j], curvature);
    }
    float& scale = scales[group[begin]];
    const float better = BetterScale(scale, gradient, curvature, args.scale_dtype);
    Move(better - scale, product);
    scale = better;
  }

  void RefineScales() const {
    for (int64_t begin = 0; begin < columns;) {
      int64_t end = begin + 1;
      while (end < columns && group[end] == group[begin]) ++end;
      RefineScale(begin, end);
      begin = end;
    }
  }

  void RefineCodes() const {
    const float max_code = static_cast<float>((1 << args.bits) - 1);
    for (int64_t j = 0; j < columns; ++j) {
      const float* hessian = Hessian(j);
      const float scale = scales[group[j]];
      const float zero = static_cast<float>(zeros[group[j]]);
      const float before = scale * steps[j];
      const float best = before + residual[j] / hessian[j];
      float code = std::nearbyintf(best / scale) + zero;
      code = code > 0.0f ? code : 0.0f;
      code = code < max_code ? code : max_code;
      steps[j] = code - zero;
      // 0 * best keeps what is not finite from becoming harmless.
      const float step = scale * steps[j] + 0.0f * best - before;
      if (step != 0.0f) Move(step, hessian);
    }
  }
};

}  // namespace

void RefineRows(const RefineBlockArgs& args, int64_t first, int, float* scratch) {
  const int64_t columns = args.end - args.begin;
  const BlockRow row = {args,
                        scratch,
                        scratch + columns,
                        scratch + 2 * columns,
                        args.scales.Row<float>(first),
                        args.zeros.Row<const int32_t>(first),
                        args.column_group.As<const int32_t>() + args.begin,
                        columns};
  float* w = args.w.Row<float>(first) + args.begin;
  uint8_t* codes = args.codes.Row<uint8_t>(first) + args.begin;
  const float* residual = args.residual.Row<const float>(first) + args.begin;
  for (int64_t j = 0; j < columns; ++j) {
    row.residual[j] = residual[j];
    row.steps[j] = static_cast<float>(codes[j]) - static_cast<float>(row.zeros[row.group[j]]);
  }
  for (int sweep = 0; sweep < args.sweeps; ++sweep) {
    if (args.refines_scales) row.RefineScales();
    if (args.refines_codes) row.RefineCodes();
  }
  for (int64_t j = 0; j < columns; ++j) {
    const int32_t g = row.group[j];
    const float value = row.scales[g] * row.steps[j] + 0.0f * row.residual[j];
    args.change.Row<float>(first)[j] = value - w[j];
    w[j] = value;
    codes[j] = static_cast<uint8_t>(row.steps[j] + static_cast<float>(row.zeros[g]));
  }
}

}  // namespace kernels::reference

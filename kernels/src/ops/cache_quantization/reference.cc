#include <algorithm>
#include <cmath>

#include "core/rows.h"
#include "ops/cache_quantization/cache_quantization.h"
#include "ops/cache_quantization/grid.h"

namespace kernels {

namespace {

// value = scale * (code - zero)
struct ScaleAndZero {
  float scale;
  float zero;
};

// A grid of scale 0 holds one value only, the offset of code 0.
ScaleAndZero ToScaleAndZero(const CacheGrid& grid) {
  const float scale = ToFloat(grid.scale);
  const float offset = ToFloat(grid.offset);
  return scale == 0 ? ScaleAndZero{1, -offset} : ScaleAndZero{scale, -offset / scale};
}

void QuantizeTokens(const Context& context, const QuantizeCacheArgs& args) {
  const int64_t heads = args.scale.shape[1];
  const int64_t width = args.x.shape[1];
  const int64_t dim = width / heads;
  ForRows(context.pool, args.x.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin * heads; item < end * heads; ++item) {
      const float* x = args.x.Row<float>(item / heads) + item % heads * dim;
      const CacheGrid grid = RoundToCodes(x, dim, args.codes.As<uint8_t>() + item * dim);
      const ScaleAndZero result = ToScaleAndZero(grid);
      args.scale.As<float>()[item] = result.scale;
      args.zero.As<float>()[item] = result.zero;
    }
  });
}

Range RangeOfHead(const Tensor& x, int64_t head, int64_t dim) {
  Range all = FindRange(x.Row<float>(0) + head * dim, dim);
  for (int64_t r = 1; r < x.shape[0]; ++r) {
    const Range row = FindRange(x.Row<float>(r) + head * dim, dim);
    if (std::isnan(row.least)) return row;
    all = {std::min(all.least, row.least), std::max(all.largest, row.largest)};
  }
  return all;
}

// The order of operations is the original's, in f32. What it leaves undefined: a head of one value
// gets scale 1 and codes 0; one that is not finite, or whose range is not, comes back as NaN.
void QuantizeCallHead(const QuantizeCacheArgs& args, int64_t head) {
  const int64_t heads = args.scale.shape[1];
  const int64_t dim = args.x.shape[1] / heads;
  const Range range = RangeOfHead(args.x, head, dim);
  float scale = (range.largest - range.least) / 255.0f;
  float zero = 0.0f - range.least / scale;
  const bool is_sound = std::isfinite(scale);
  const bool is_constant = scale == 0;
  if (!is_sound) scale = zero = NAN;
  if (is_constant) scale = 1;
  if (is_constant) zero = -range.least;
  for (int64_t r = 0; r < args.x.shape[0]; ++r) {
    const float* x = args.x.Row<float>(r) + head * dim;
    uint8_t* codes = args.codes.As<uint8_t>() + (r * heads + head) * dim;
    args.scale.As<float>()[r * heads + head] = scale;
    args.zero.As<float>()[r * heads + head] = zero;
    for (int64_t d = 0; d < dim; ++d) {
      const float code = is_sound && !is_constant ? x[d] / scale + zero : 0.0f;
      codes[d] = static_cast<uint8_t>(std::clamp(code, 0.0f, 255.0f));
    }
  }
}

}  // namespace

void QuantizeCache(const Context& context, const QuantizeCacheArgs& args) {
  if (args.x.shape[0] == 0) return;
  if (args.form == CacheForm::kToken) {
    QuantizeTokens(context, args);
    return;
  }
  context.pool.ParallelFor(args.scale.shape[1],
                           [&](int64_t head, int) { QuantizeCallHead(args, head); });
}

void DequantizeCache(const Context& context, const DequantizeCacheArgs& args) {
  const int64_t heads = args.scale.shape[1];
  const int64_t width = args.codes.shape[1];
  const int64_t dim = width / heads;
  ForRows(context.pool, args.codes.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const uint8_t* codes = args.codes.Row<uint8_t>(r);
      float* y = args.y.As<float>() + r * width;
      for (int64_t i = 0; i < width; ++i) {
        const float scale = args.scale.Row<float>(r)[i / dim];
        y[i] = scale * (static_cast<float>(codes[i]) - args.zero.Row<float>(r)[i / dim]);
      }
    }
  });
}

}  // namespace kernels

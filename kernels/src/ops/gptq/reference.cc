#include <cmath>

#include "ops/gptq/implementations.h"

namespace kernels::reference {

namespace {

struct Rounded {
  float value;
  uint8_t code;
};

Rounded Round(float w, Grid grid, int bits) {
  const float max_code = static_cast<float>((1 << bits) - 1);
  float code = std::nearbyintf(w / grid.scale) + grid.zero;
  // Written so that not-a-number becomes 0: only values within range are converted.
  code = code > 0.0f ? code : 0.0f;
  code = code < max_code ? code : max_code;
  // 0 * w adds nothing, unless w is not finite: that must not turn into a harmless number.
  const float value = grid.scale * (code - grid.zero) + 0.0f * w;
  return {value, static_cast<uint8_t>(code)};
}

// As gptq.h has it; `importance` may be null.
float RoundingError(const float* w, const float* importance, int64_t columns, Grid grid, int bits) {
  float sums[kErrorSums] = {};
  for (int64_t j = 0; j < columns; ++j) {
    const float error = w[j] - Round(w[j], grid, bits).value;
    const float square = error * error;
    sums[j % kErrorSums] += importance == nullptr ? square : importance[j] * square;
  }
  return TotalError(sums);
}

Grid GridOfColumns(const float* w, const float* importance, int64_t columns,
                   const GridOptions& options) {
  float low = 0.0f;
  float high = 0.0f;
  for (int64_t j = 0; j < columns; ++j) {
    if (w[j] < low) low = w[j];
    if (w[j] > high) high = w[j];
  }
  if (!options.minimizes_error) return GridOfRange(low, high, options);
  return LeastError(low, high, options, [&](Grid grid) {
    return RoundingError(w, importance, columns, grid, options.bits);
  });
}

int64_t RunLength(const int32_t* group, int64_t column, int64_t end) {
  int64_t last = column + 1;
  while (last < end && group[last] == group[column]) ++last;
  return last - column;
}

}  // namespace

void FindGridRow(const FindGridArgs& args, int64_t row) {
  const int64_t in = args.w.shape[1];
  for (int64_t g = 0; g < args.scales.shape[1]; ++g) {
    const int64_t first = g * args.group_size;
    const int64_t columns = args.group_size < in - first ? args.group_size : in - first;
    const Grid grid = GridOfColumns(args.w.Row<float>(row) + first, From(args.importance, first),
                                    columns, args.grid);
    args.scales.Row<float>(row)[g] = grid.scale;
    args.zeros.Row<int32_t>(row)[g] = static_cast<int32_t>(grid.zero);
  }
}

void RoundToGridRow(const RoundToGridArgs& args, int64_t row) {
  const int32_t* group = args.column_group.As<int32_t>();
  const float* scales = args.scales.Row<float>(row);
  const int32_t* zeros = args.zeros.Row<int32_t>(row);
  float* w = args.w.Row<float>(row);
  uint8_t* codes = args.codes.Row<uint8_t>(row);
  for (int64_t j = 0; j < args.w.shape[1]; ++j) {
    const Grid grid = {scales[group[j]], static_cast<float>(zeros[group[j]])};
    const Rounded rounded = Round(w[j], grid, args.bits);
    w[j] = rounded.value;
    codes[j] = rounded.code;
  }
}

void GptqRows(const GptqBlockArgs& args, int64_t first, int, float* scratch) {
  const int64_t columns = args.end - args.begin;
  const int32_t* group = args.column_group.As<int32_t>();
  float* w = args.w.Row<float>(first);
  float* scales = args.scales.Row<float>(first);
  int32_t* zeros = args.zeros.Row<int32_t>(first);
  for (int64_t j = 0; j < columns; ++j) scratch[j] = w[args.begin + j];
  for (int64_t i = args.begin; i < args.end; ++i) {
    const int32_t g = group[i];
    const bool starts = i == args.begin || g != group[i - 1];
    if (starts && args.range != RangeSource::kGiven) {
      const float* source = args.range == RangeSource::kStale ? scratch + (i - args.begin) : w + i;
      const Grid grid =
          GridOfColumns(source, From(args.importance, i), RunLength(group, i, args.end), args.grid);
      scales[g] = grid.scale;
      zeros[g] = static_cast<int32_t>(grid.zero);
    }
    const Grid grid = {scales[g], static_cast<float>(zeros[g])};
    const Rounded rounded = Round(w[i], grid, args.grid.bits);
    const float* factor = args.factor.Row<float>(i);
    const float error = (w[i] - rounded.value) / factor[i];
    for (int64_t j = i + 1; j < args.end; ++j) w[j] = std::fmaf(-error, factor[j], w[j]);
    w[i] = rounded.value;
    args.codes.Row<uint8_t>(first)[i] = rounded.code;
    args.error.Row<float>(first)[i - args.begin] = error;
  }
}

}  // namespace kernels::reference

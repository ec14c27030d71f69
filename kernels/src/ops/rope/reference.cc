#include <cmath>

#include "core/error.h"
#include "core/rows.h"
#include "ops/rope/rope.h"

namespace kernels {

namespace {

// A sine and a cosine cost about this many elements of simple work.
constexpr int64_t kAngleCost = 32;

void FillFrequencies(float base, int64_t dim, float* frequency) {
  for (int64_t j = 0; j < dim / 2; ++j) {
    const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(dim);
    frequency[j] = static_cast<float>(std::pow(double{base}, exponent));
  }
}

void RotateHead(float* head, const float* cosine, const float* sine, int64_t half) {
  float* a = head;
  float* b = head + half;
  for (int64_t j = 0; j < half; ++j) {
    const float x = a[j];
    const float y = b[j];
    a[j] = x * cosine[j] - y * sine[j];
    b[j] = y * cosine[j] + x * sine[j];
  }
}

}  // namespace

void RopeTable(const Context& context, const RopeTableArgs& args) {
  const int64_t rows = args.positions.shape[0];
  const int64_t dim = args.table.shape[1];
  const int64_t sequences = args.base.shape[0];
  const int32_t* position = args.positions.As<int32_t>();
  const int32_t* sequence = args.row_sequence.As<int32_t>();
  const float* base = args.base.As<float>();
  for (int64_t r = 0; r < rows; ++r) {
    if (sequence[r] < 0 || sequence[r] >= sequences) {
      throw Error(Code::kValue, "ropeTable: row_sequence[" + std::to_string(r) + "] is " +
                                    std::to_string(sequence[r]) + "; base has " +
                                    std::to_string(sequences) + " sequences");
    }
  }
  ForRows(context.pool, rows, dim * kAngleCost, [&](int64_t begin, int64_t end, int worker) {
    float* frequency =
        reinterpret_cast<float*>(context.pool.Scratch(worker, dim / 2 * sizeof(float)));
    for (int64_t r = begin; r < end; ++r) {
      const bool reuse = r > begin && sequence[r] == sequence[r - 1];
      if (!reuse) FillFrequencies(base[sequence[r]], dim, frequency);
      float* cosine = args.table.Row<float>(r);
      float* sine = cosine + dim / 2;
      for (int64_t j = 0; j < dim / 2; ++j) {
        // The angle is rounded to f32 because that is what the models were trained with.
        const float angle = static_cast<float>(position[r]) * frequency[j];
        cosine[j] = static_cast<float>(std::cos(double{angle}));
        sine[j] = static_cast<float>(std::sin(double{angle}));
      }
    }
  });
}

void Rope(const Context& context, const RopeArgs& args) {
  const int64_t width = args.x.shape[1];
  const int64_t dim = args.table.shape[1];
  ForRows(context.pool, args.x.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* cosine = args.table.Row<float>(r);
      float* x = args.x.Row<float>(r);
      for (int64_t at = 0; at < width; at += dim) {
        RotateHead(x + at, cosine, cosine + dim / 2, dim / 2);
      }
    }
  });
}

}  // namespace kernels

#include "ops/gemm/cuda.h"

#include "ops/gemm/products.h"

// a and b in three bf16 parts each, or in one where they are bf16 already.
namespace kernels::cuda {

namespace {

struct GemmOut {
  Matrix<float> c;
  float alpha;
  bool upper_only;
  const int32_t* status;  // or null

  // Whether no element of a tile that begins with `row` and ends before `end_column` is wanted.
  __device__ bool Skips(int64_t row, int64_t end_column) const {
    return (upper_only && end_column <= row) || (status != nullptr && *status != 0);
  }
  // alpha is +1 or -1, so this rounds once.
  __device__ __forceinline__ void Write(int64_t row, int64_t column, float total) const {
    float& to = c.Row(row)[column];
    to = __fmaf_rn(alpha, total, to);
  }
};

GemmOut OutOf(const GemmArgs& args, const int32_t* status) {
  return {{args.c, args.c_row}, args.alpha, args.upper_only, status};
}

StridedFloats Strided(const float* data, int64_t row_stride, int64_t input_stride, int64_t rows,
                      int64_t depth) {
  StridedFloats operand;
  operand.data = data;
  operand.row_stride = row_stride;
  operand.input_stride = input_stride;
  operand.rows = rows;
  operand.depth = depth;
  return operand;
}

StridedPairs Pairs(const float* data, int64_t row_stride, int64_t pair_stride, int64_t rows,
                   int64_t pairs) {
  StridedPairs operand;
  operand.data = reinterpret_cast<const uint32_t*>(data);
  operand.row_stride = row_stride;
  operand.pair_stride = pair_stride;
  operand.rows = rows;
  operand.depth = 2 * pairs;
  return operand;
}

}  // namespace

void Gemm(Session& session, const GemmArgs& args, const int32_t* status) {
  const StridedFloats b = Strided(args.b, 1, args.b_row, args.n, args.k);
  if (args.a_column == 1) {
    const auto a = RowsOf<float>(args.a, args.a_row, args.m, args.k);
    LaunchProduct(session, a, b, OutOf(args, status), args.k);
  } else {
    const StridedFloats a = Strided(args.a, args.a_row, args.a_column, args.m, args.k);
    LaunchProduct(session, a, b, OutOf(args, status), args.k);
  }
}

void GemmBf16Pairs(Session& session, const GemmArgs& args) {
  const StridedPairs a = Pairs(args.a, args.a_row, args.a_column, args.m, args.k);
  const StridedPairs b = Pairs(args.b, 1, args.b_row, args.n, args.k);
  LaunchProduct(session, a, b, OutOf(args, nullptr), 2 * args.k);
}

}  // namespace kernels::cuda

#include "ops/rms_norm/cuda_scale.h"
#include "ops/rms_norm/rms_norm.h"

// One block for each row.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;

template <class Weight>
__global__ void RmsNormKernel(Matrix<const float> x, const Weight* weight, float epsilon,
                              int64_t width, Matrix<float> y) {
  const float* from = x.Row(blockIdx.x);
  float* to = y.Row(blockIdx.x);
  const float scale = RmsScale<kThreads>(from, width, epsilon);
  for (int64_t j = threadIdx.x; j < width; j += kThreads) {
    to[j] = from[j] * scale * ToFloat(weight[j]);
  }
}

void RunRmsNorm(Session& session, const RmsNormArgs& args) {
  WithFloatType(args.weight.dtype, [&](auto type) {
    using Weight = decltype(type);
    Launch(session, RmsNormKernel<Weight>,
           {.blocks_x = BlockCount(args.x.shape[0]), .threads = kThreads},
           MatrixOf<const float>(args.x), args.weight.As<const Weight>(), args.epsilon,
           args.x.shape[1], MatrixOf<float>(args.y));
  });
}

const Operation<RmsNormArgs, RunRmsNorm> operation("rmsNorm");

}  // namespace

}  // namespace kernels::cuda

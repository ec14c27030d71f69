#include "cuda/exp.h"
#include "cuda/rows.h"
#include "ops/softmax/softmax.h"

// LogSoftmax and KlDivergence: a block for each row, because rows are a vocabulary long. The sums
// are in double; their order depends on the width only.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 512;

template <int n>
__global__ void __launch_bounds__(kThreads)
    LogSoftmaxKernel(Matrix<const float> x, int64_t width, Matrix<float> y) {
  const float* from = x.Row(blockIdx.x);
  float* to = y.Row(blockIdx.x);
  float largest = -INFINITY;
  for (int64_t j = int64_t{threadIdx.x} * n; j < width; j += int64_t{kThreads} * n) {
    const auto pack = LoadPack<float, n>(from + j);
    for (int i = 0; i < n; ++i) largest = pack.at[i] > largest ? pack.at[i] : largest;
  }
  largest = BlockMax(largest);  // NaN comes back through the sum
  double sum = 0;
  for (int64_t j = int64_t{threadIdx.x} * n; j < width; j += int64_t{kThreads} * n) {
    const auto pack = LoadPack<float, n>(from + j);
    for (int i = 0; i < n; ++i) sum += double{Exp(pack.at[i] - largest)};
  }
  // x - largest is exact near the largest values; adding the two first would round before that.
  const float log_sum = static_cast<float>(log(BlockSum(sum)));
  for (int64_t j = int64_t{threadIdx.x} * n; j < width; j += int64_t{kThreads} * n) {
    auto pack = LoadPack<float, n>(from + j);
    for (int i = 0; i < n; ++i) pack.at[i] = pack.at[i] - largest - log_sum;
    StorePack(to + j, pack);
  }
}

template <int n>
__global__ void __launch_bounds__(kThreads)
    KlDivergenceKernel(Matrix<const float> log_p, Matrix<const float> log_q, int64_t width,
                       float* y) {
  const float* p = log_p.Row(blockIdx.x);
  const float* q = log_q.Row(blockIdx.x);
  double sum = 0;
  for (int64_t j = int64_t{threadIdx.x} * n; j < width; j += int64_t{kThreads} * n) {
    const auto left = LoadPack<float, n>(p + j);
    const auto right = LoadPack<float, n>(q + j);
    for (int i = 0; i < n; ++i) {
      const float weight = Exp(left.at[i]);
      // Where p underflows to zero the difference counts as zero too: 0 * infinity is no NaN.
      const float difference = weight == 0 ? 0.0f : left.at[i] - right.at[i];
      sum += double{weight} * double{difference};
    }
  }
  sum = BlockSum(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = static_cast<float>(sum);
}

void RunLogSoftmax(Session& session, const LogSoftmaxArgs& args) {
  WithPacks<4>(HasPacks(args.x, 4) && HasPacks(args.y, 4), [&](auto pack) {
    Launch(session, LogSoftmaxKernel<pack()>,
           {.blocks_x = BlockCount(args.x.shape[0]), .threads = kThreads},
           MatrixOf<const float>(args.x), args.x.shape[1], MatrixOf<float>(args.y));
  });
}

void RunKlDivergence(Session& session, const KlDivergenceArgs& args) {
  WithPacks<4>(HasPacks(args.log_p, 4) && HasPacks(args.log_q, 4), [&](auto pack) {
    Launch(session, KlDivergenceKernel<pack()>,
           {.blocks_x = BlockCount(args.log_p.shape[0]), .threads = kThreads},
           MatrixOf<const float>(args.log_p), MatrixOf<const float>(args.log_q),
           args.log_p.shape[1], args.y.As<float>());
  });
}

const Operation<LogSoftmaxArgs, RunLogSoftmax> log_softmax("logSoftmax");
const Operation<KlDivergenceArgs, RunKlDivergence> kl_divergence("klDivergence");

}  // namespace

}  // namespace kernels::cuda

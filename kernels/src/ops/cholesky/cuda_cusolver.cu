#include "ops/cholesky/cuda_cusolver.h"

#include <cstdint>

#include "cuda/numbers.h"
#include "cuda/rows.h"

// H = R R^T with R upper is, with rows and columns in reverse, a factorization with a lower factor,
// and R^-1 the inverse of that in reverse. The library's matrices lie by columns: its lower
// triangle is ours above the diagonal.
namespace kernels::cuda {

namespace {

// Rows below which launches of our own are as quick: an estimate.
constexpr int64_t kLeastRows = 512;
// Their square is an int, as Spotrf's sizes are.
constexpr int64_t kMostRows = 46340;
constexpr unsigned kReportThreads = 256;

__global__ void CopyReversedKernel(const float* hessian, int64_t n, const double* term, float* to) {
  const auto [i, j] = FirstElement<1>(n);
  if (j >= n || j < i) return;
  float value = hessian[(n - 1 - j) * n + n - 1 - i];
  if (i == j) value = static_cast<float>(value + *term);
  to[i * n + j] = value;
}

// Reverses what is on and above the diagonal in its place; zeros below.
__global__ void ReverseKernel(float* matrix, int64_t n) {
  const auto [i, j] = FirstElement<1>(n);
  if (j >= n) return;
  if (j < i) {
    matrix[i * n + j] = 0.0f;
  } else if (i + j < n - 1) {
    const int64_t other = (n - 1 - j) * n + n - 1 - i;
    const float value = matrix[i * n + j];
    matrix[i * n + j] = matrix[other];
    matrix[other] = value;
  }
}

// The order of a minor that is not positive, as the row from the other end; or the last row whose
// pivot is not finite, which the library need not notice.
__global__ void ReportKernel(const int32_t* info, const float* factor, int64_t n, int32_t* status) {
  int32_t refused = *info > 0 ? static_cast<int32_t>(n - *info + 1) : 0;
  for (int64_t i = threadIdx.x; i < n; i += kReportThreads) {
    const float pivot = factor[i * (n + 1)];
    if (*info <= 0 && !(IsFinite(pivot) && pivot > 0)) refused = static_cast<int32_t>(i + 1);
  }
  refused = BlockMax(refused);
  if (threadIdx.x == 0) *status = refused;
}

}  // namespace

CusolverInverse::CusolverInverse(Session& session, const InverseCholeskyArgs& args)
    : session_(session), args_(args), n_(args.hessian.shape[0]) {
  if (n_ < kLeastRows || n_ > kMostRows) return;
  library_ = session.cusolver();
  if (library_ != nullptr && !library_->AskSizes(args.factor.As<float>(), n_, &sizes_)) {
    library_ = nullptr;
  }
}

bool CusolverInverse::Run(const double* term, float* scratch) const {
  if (library_ == nullptr) return false;
  auto* factor = args_.factor.As<float>();
  auto* info = reinterpret_cast<int32_t*>(scratch);
  Launch(session_, CopyReversedKernel, RowParts(n_, n_, 1), args_.hessian.As<const float>(), n_,
         term, factor);
  if (!library_->InvertCholesky(factor, n_, sizes_, scratch + kFloatsBefore, info)) return false;
  Launch(session_, ReverseKernel, RowParts(n_, n_, 1), factor, n_);
  Launch(session_, ReportKernel, {.threads = kReportThreads}, info, factor, n_,
         args_.status.As<int32_t>());
  return true;
}

}  // namespace kernels::cuda

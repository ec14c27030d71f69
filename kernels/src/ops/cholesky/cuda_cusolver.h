#pragma once

#include "cuda/session.h"
#include "ops/cholesky/cholesky.h"

namespace kernels::cuda {

// inverseCholesky by NVIDIA's library, where there is one and the matrix is large.
class CusolverInverse {
 public:
  CusolverInverse(Session& session, const InverseCholeskyArgs& args);

  // Of its scratch memory.
  int64_t Floats() const { return library_ == nullptr ? 0 : kFloatsBefore + sizes_.Floats(); }
  // It will not be used.
  void GiveUp() { library_ = nullptr; }
  // Adds `term` to the diagonal and goes on to the factor and the status. False, with the factor
  // undefined, where the library was not used.
  bool Run(const double* term, float* scratch) const;

 private:
  // Of the library's reports, as much as keeps what follows aligned.
  static constexpr int64_t kFloatsBefore = 64;

  Session& session_;
  const InverseCholeskyArgs& args_;
  int64_t n_;
  const Cusolver* library_ = nullptr;
  Cusolver::Sizes sizes_;
};

}  // namespace kernels::cuda

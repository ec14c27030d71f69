#include "cuda/cusolver.h"

#include <algorithm>
#include <utility>

// cusolverDn.h as far as it is needed (docs.nvidia.com/cuda/cusolver, "Dense LAPACK").
namespace kernels::cuda {

namespace {

constexpr int kSuccess = 0;
constexpr int kLower = 0;    // CUBLAS_FILL_MODE_LOWER
constexpr int kNonUnit = 0;  // CUBLAS_DIAG_NON_UNIT
constexpr int kTypeF32 = 0;  // CUDA_R_32F
// Before, Xtrtri_bufferSize told elements for bytes (release notes of CUDA 12.4.1).
constexpr std::array<int, 3> kOldest = {11, 6, 1};

}  // namespace

struct Cusolver::Functions {
  int (*property)(int part, int* value);  // of libraryPropertyType: major, minor, patch
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*set_stream)(void* handle, void* stream);
  int (*factor_floats)(void* handle, int triangle, int n, float* matrix, int stride, int* floats);
  int (*factor)(void* handle, int triangle, int n, float* matrix, int stride, float* work,
                int floats, int* info);
  int (*invert_bytes)(void* handle, int triangle, int diagonal, int64_t n, int type, void* matrix,
                      int64_t stride, size_t* device_bytes, size_t* host_bytes);
  int (*invert)(void* handle, int triangle, int diagonal, int64_t n, int type, void* matrix,
                int64_t stride, void* work, size_t device_bytes, void* host_work, size_t host_bytes,
                int* info);
};

Cusolver::Cusolver(std::unique_ptr<const Functions> functions)
    : functions_(std::move(functions)), handle_(functions_->destroy) {}

Cusolver::~Cusolver() = default;

std::array<int, 3> Cusolver::Version() const {
  std::array<int, 3> parts{};
  for (int part = 0; part < 3; ++part) functions_->property(part, &parts[part]);
  return parts;
}

std::unique_ptr<Cusolver> Cusolver::Open(const std::string& chosen, platform::Stream stream) {
  const auto make = [stream](VendorLibrary& library) -> std::unique_ptr<Cusolver> {
    auto f = std::make_unique<Functions>();
    library.Find("cusolverGetProperty", f->property);
    library.Find("cusolverDnCreate", f->create);
    library.Find("cusolverDnDestroy", f->destroy);
    library.Find("cusolverDnSetStream", f->set_stream);
    library.Find("cusolverDnSpotrf_bufferSize", f->factor_floats);
    library.Find("cusolverDnSpotrf", f->factor);
    library.Find("cusolverDnXtrtri_bufferSize", f->invert_bytes);
    library.Find("cusolverDnXtrtri", f->invert);
    if (!library.works()) return nullptr;
    std::unique_ptr<Cusolver> made(new Cusolver(std::move(f)));
    if (made->Version() < kOldest ||
        made->functions_->create(made->handle_.Address()) != kSuccess ||
        made->functions_->set_stream(made->handle_.Get(), stream) != kSuccess) {
      return nullptr;
    }
    return made;
  };
  return OpenVendorLibrary(chosen, "cusolver", {12, 11}, make);
}

std::string Cusolver::Describe() const {
  const auto [major, minor, patch] = Version();
  return "cuSOLVER " + std::to_string(major) + "." + std::to_string(minor) + "." +
         std::to_string(patch);
}

int64_t Cusolver::Sizes::Floats() const {
  const size_t floats = (invert_bytes + sizeof(float) - 1) / sizeof(float);
  return std::max(int64_t{factor_floats}, static_cast<int64_t>(floats));
}

bool Cusolver::AskSizes(float* matrix, int64_t n, Sizes* sizes) const {
  const int order = static_cast<int>(n);
  size_t host_bytes = 0;
  return functions_->factor_floats(handle_.Get(), kLower, order, matrix, order,
                                   &sizes->factor_floats) == kSuccess &&
         functions_->invert_bytes(handle_.Get(), kLower, kNonUnit, n, kTypeF32, matrix, n,
                                  &sizes->invert_bytes, &host_bytes) == kSuccess &&
         host_bytes == 0;  // nothing says when the library has done with the host's memory
}

bool Cusolver::InvertCholesky(float* matrix, int64_t n, const Sizes& sizes, float* scratch,
                              int32_t* info) const {
  const int order = static_cast<int>(n);
  return functions_->factor(handle_.Get(), kLower, order, matrix, order, scratch,
                            sizes.factor_floats, info) == kSuccess &&
         functions_->invert(handle_.Get(), kLower, kNonUnit, n, kTypeF32, matrix, n, scratch,
                            sizes.invert_bytes, nullptr, 0, info + 1) == kSuccess;
}

}  // namespace kernels::cuda

#include "cuda/cusolver.h"

#include <algorithm>

// cusolverDn.h as far as it is needed (docs.nvidia.com/cuda/cusolver, "Dense LAPACK").
namespace kernels::cuda {

namespace {

constexpr int kSuccess = 0;
constexpr int kLower = 0;                   // CUBLAS_FILL_MODE_LOWER
constexpr int kNonUnit = 0;                 // CUBLAS_DIAG_NON_UNIT
constexpr int kTypeF32 = 0;                 // CUDA_R_32F
constexpr int kVersionParts[] = {0, 1, 2};  // libraryPropertyType: major, minor, patch

}  // namespace

struct Cusolver::Functions {
  int (*property)(int part, int* value);
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

const Cusolver::Functions* Cusolver::Load() {
  static Functions f;
  static const bool works = [] {
    VendorLibrary library("NIBBLE_CUSOLVER", "cusolver", {12, 11});
    library.Find("cusolverGetProperty", f.property);
    library.Find("cusolverDnCreate", f.create);
    library.Find("cusolverDnDestroy", f.destroy);
    library.Find("cusolverDnSetStream", f.set_stream);
    library.Find("cusolverDnSpotrf_bufferSize", f.factor_floats);
    library.Find("cusolverDnSpotrf", f.factor);
    library.Find("cusolverDnXtrtri_bufferSize", f.invert_bytes);
    library.Find("cusolverDnXtrtri", f.invert);
    return library.works();
  }();
  return works ? &f : nullptr;
}

Cusolver::Cusolver(const Functions& functions)
    : functions_(functions), handle_(functions.destroy) {}

std::unique_ptr<Cusolver> Cusolver::Open(platform::Stream stream) {
  const Functions* functions = Load();
  if (functions == nullptr) return nullptr;
  std::unique_ptr<Cusolver> opened(new Cusolver(*functions));
  const bool works = functions->create(opened->handle_.Address()) == kSuccess &&
                     functions->set_stream(opened->handle_.Get(), stream) == kSuccess;
  return works ? std::move(opened) : nullptr;
}

std::string Cusolver::Describe() {
  const Functions* functions = Load();
  if (functions == nullptr) return "";
  std::string version;
  for (const int part : kVersionParts) {
    int value = 0;
    functions->property(part, &value);
    version += (version.empty() ? "" : ".") + std::to_string(value);
  }
  return "cuSOLVER " + version;
}

int64_t Cusolver::Sizes::Floats() const {
  const size_t floats = (invert_bytes + sizeof(float) - 1) / sizeof(float);
  return std::max(int64_t{factor_floats}, static_cast<int64_t>(floats));
}

bool Cusolver::AskSizes(float* matrix, int64_t n, Sizes* sizes) const {
  const int order = static_cast<int>(n);
  size_t host_bytes = 0;
  return functions_.factor_floats(handle_.Get(), kLower, order, matrix, order,
                                  &sizes->factor_floats) == kSuccess &&
         functions_.invert_bytes(handle_.Get(), kLower, kNonUnit, n, kTypeF32, matrix, n,
                                 &sizes->invert_bytes, &host_bytes) == kSuccess &&
         host_bytes == 0;  // nothing says when the library has done with the host's memory
}

bool Cusolver::InvertCholesky(float* matrix, int64_t n, const Sizes& sizes, float* scratch,
                              int32_t* info) const {
  const int order = static_cast<int>(n);
  return functions_.factor(handle_.Get(), kLower, order, matrix, order, scratch,
                           sizes.factor_floats, info) == kSuccess &&
         functions_.invert(handle_.Get(), kLower, kNonUnit, n, kTypeF32, matrix, n, scratch,
                           sizes.invert_bytes, nullptr, 0, info + 1) == kSuccess;
}

}  // namespace kernels::cuda

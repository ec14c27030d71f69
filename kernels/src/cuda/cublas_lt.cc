#include "cuda/cublas_lt.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

// cublasLt.h as far as it is needed (docs.nvidia.com/cuda/cublas, "Using the cuBLASLt API"), the
// same from CUDA 12 on.
namespace kernels::cuda {

namespace {

constexpr int kSuccess = 0;
constexpr int kComputeF32 = 68;  // CUBLAS_COMPUTE_32F, without TF32
constexpr int kTypeF32 = 0;      // CUDA_R_32F
constexpr int kTypeBF16 = 14;    // CUDA_R_16BF
constexpr int kTransposeB = 4;   // CUBLASLT_MATMUL_DESC_TRANSB
constexpr int32_t kTransposed = 1;

// What the library expects of addresses when it chooses a kernel by itself.
constexpr uintptr_t kAlignment = 256;
constexpr uint64_t kRowAlignment = 16;
// Multiplications below which there is more to lose than to gain: an estimate.
constexpr int64_t kLeastProducts = int64_t{1} << 26;
// Of one sum; c takes up those of the next (see ops/gemm/cuda_pairs.h).
constexpr int64_t kMostDepth = 2048;

}  // namespace

struct CublasLt::Functions {
  size_t (*version)();
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*new_descriptor)(void** descriptor, int compute, int scale);
  int (*set_attribute)(void* descriptor, int attribute, const void* value, size_t bytes);
  int (*delete_descriptor)(void* descriptor);
  int (*new_layout)(void** layout, int type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*delete_layout)(void* layout);
  int (*multiply)(void* handle, void* descriptor, const void* alpha, const void* a, void* a_layout,
                  const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                  void* d, void* d_layout, const void* algorithm, void* workspace,
                  size_t workspace_bytes, void* stream);
};

CublasLt::CublasLt(std::unique_ptr<const Functions> functions)
    : functions_(std::move(functions)), handle_(functions_->destroy) {}

CublasLt::~CublasLt() = default;

std::unique_ptr<CublasLt> CublasLt::Open(const std::string& chosen) {
  const auto make = [](VendorLibrary& library) -> std::unique_ptr<CublasLt> {
    auto f = std::make_unique<Functions>();
    library.Find("cublasLtGetVersion", f->version);
    library.Find("cublasLtCreate", f->create);
    library.Find("cublasLtDestroy", f->destroy);
    library.Find("cublasLtMatmulDescCreate", f->new_descriptor);
    library.Find("cublasLtMatmulDescSetAttribute", f->set_attribute);
    library.Find("cublasLtMatmulDescDestroy", f->delete_descriptor);
    library.Find("cublasLtMatrixLayoutCreate", f->new_layout);
    library.Find("cublasLtMatrixLayoutDestroy", f->delete_layout);
    library.Find("cublasLtMatmul", f->multiply);
    if (!library.works()) return nullptr;
    std::unique_ptr<CublasLt> made(new CublasLt(std::move(f)));
    return made->functions_->create(made->handle_.Address()) == kSuccess ? std::move(made)
                                                                         : nullptr;
  };
  return OpenVendorLibrary(chosen, "cublasLt", {13, 12}, make);
}

std::string CublasLt::Describe() const {
  const size_t version = functions_->version();  // 130002 is 13.0.2
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
         "." + std::to_string(version % 100);
}

namespace {

bool IsAligned(const CublasLtProduct& p) {
  const uint64_t element = DTypeBytes(p.dtype);
  const uintptr_t addresses = reinterpret_cast<uintptr_t>(p.a) | reinterpret_cast<uintptr_t>(p.b) |
                              reinterpret_cast<uintptr_t>(p.c);
  const uint64_t rows = static_cast<uint64_t>(p.a_stride | p.b_stride) * element |
                        static_cast<uint64_t>(p.c_stride) * sizeof(float);
  return addresses % kAlignment == 0 && rows % kRowAlignment == 0;
}

}  // namespace

bool CublasLt::IsWorthwhile(int64_t rows, int64_t columns, int64_t depth) {
  int64_t products = 0;
  const bool overflows = __builtin_mul_overflow(rows * columns, depth, &products);
  return overflows || products >= kLeastProducts;
}

bool CublasLt::Multiply(platform::Stream stream, const CublasLtProduct& p) const {
  if (!IsAligned(p)) return false;
  const Functions& f = *functions_;
  const int type = p.dtype == DType::kBF16 ? kTypeBF16 : kTypeF32;
  // The library's matrices lie by columns, so it sees ours transposed: c^T += alpha b^T a.
  VendorObject descriptor(f.delete_descriptor);
  VendorObject c(f.delete_layout);
  if (f.new_descriptor(descriptor.Address(), kComputeF32, kTypeF32) != kSuccess ||
      f.set_attribute(descriptor.Get(), kTransposeB, &kTransposed, sizeof kTransposed) !=
          kSuccess ||
      f.new_layout(c.Address(), kTypeF32, p.columns, p.rows, p.c_stride) != kSuccess) {
    return false;
  }
  const float one = 1;
  for (int64_t first = 0; first < p.depth; first += kMostDepth) {
    const int64_t depth = std::min(kMostDepth, p.depth - first);
    VendorObject a(f.delete_layout);
    VendorObject b(f.delete_layout);
    const auto from = [&](const void* data, int64_t stride) {
      return static_cast<const std::byte*>(data) + first * stride * DTypeBytes(p.dtype);
    };
    const bool works = f.new_layout(a.Address(), type, p.rows, depth, p.a_stride) == kSuccess &&
                       f.new_layout(b.Address(), type, p.columns, depth, p.b_stride) == kSuccess &&
                       f.multiply(handle_.Get(), descriptor.Get(), &p.alpha, from(p.b, p.b_stride),
                                  b.Get(), from(p.a, p.a_stride), a.Get(), &one, p.c, c.Get(), p.c,
                                  c.Get(), nullptr, nullptr, 0, stream) == kSuccess;
    if (works) continue;
    if (first == 0) return false;
    throw Error(Code::kDevice, Describe() + " refused a part of a product");
  }
  return true;
}

}  // namespace kernels::cuda

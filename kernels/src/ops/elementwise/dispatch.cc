#include "core/dispatch.h"

#include "ops/elementwise/elementwise.h"

namespace kernels {

namespace reference {
void Swiglu(const Context& context, const SwigluArgs& args);
}  // namespace reference
#if defined(__x86_64__)
namespace avx2 {
void Swiglu(const Context& context, const SwigluArgs& args);
}  // namespace avx2
namespace avx512 {
void Swiglu(const Context& context, const SwigluArgs& args);
}  // namespace avx512
#endif

void Swiglu(const Context& context, const SwigluArgs& args) {
  static constexpr Candidate<SwigluArgs> kCandidates[] = {
#if defined(__x86_64__)
      {"avx512", Isa::kAvx512, Never<SwigluArgs>, avx512::Swiglu},
      {"avx2", Isa::kAvx2, Never<SwigluArgs>, avx2::Swiglu},
#endif
      {"reference", Isa::kScalar, Never<SwigluArgs>, reference::Swiglu},
  };
  Dispatch("swiglu", kCandidates, context, args);
}

}  // namespace kernels

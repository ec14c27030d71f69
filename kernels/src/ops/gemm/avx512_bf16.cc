#if defined(__x86_64__)

#include <immintrin.h>

#include "core/dtype.h"
#include "ops/gemm/implementations.h"
#include "ops/gemm/tiled.h"

namespace kernels::avx512bf16 {

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,f16c")

namespace {

#include "core/simd_avx512.inl"
#include "ops/gemm/kernel.inl"

struct PairInstruction {
  [[gnu::always_inline]] static inline Lanes Add(Lanes left, Lanes right, Lanes sum) {
    // Not the intrinsic: GCC 12 copies its sums between registers and memory.
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.v) : "v"(left.v), "v"(right.v));
    return sum;
  }
};

}  // namespace

#pragma GCC pop_options

void GemmBf16Pairs(const Context& context, const GemmArgs& args) {
  using Tile = RegisterTile<12, 2, PairInstruction>;
  GemmTiled(context, args, {12, Tile::kColumns, Tile::Run});
}

}  // namespace kernels::avx512bf16

#endif

#if defined(__x86_64__)

#include <immintrin.h>

#include "core/dtype.h"
#include "ops/gemm/implementations.h"
#include "ops/gemm/tiled.h"

namespace kernels::avx2 {

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace {

#include "core/simd_avx2.inl"
#include "ops/gemm/kernel.inl"

}  // namespace

#pragma GCC pop_options

void Gemm(const Context& context, const GemmArgs& args) {
  using Tile = RegisterTile<6, 2>;
  GemmTiled(context, args, {6, Tile::kColumns, Tile::Run});
}

void GemmBf16Pairs(const Context& context, const GemmArgs& args) {
  using Tile = RegisterTile<6, 2, Bf16PairProducts>;
  GemmTiled(context, args, {6, Tile::kColumns, Tile::Run});
}

}  // namespace kernels::avx2

#endif

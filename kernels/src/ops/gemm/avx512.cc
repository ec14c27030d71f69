#if defined(__x86_64__)

#include <immintrin.h>

#include "core/dtype.h"
#include "ops/gemm/implementations.h"
#include "ops/gemm/tiled.h"

namespace kernels::avx512 {

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

namespace {

#include "core/simd_avx512.inl"
#include "ops/gemm/kernel.inl"

}  // namespace

#pragma GCC pop_options

void Gemm(const Context& context, const GemmArgs& args) {
  using Tile = RegisterTile<12, 2>;
  GemmTiled(context, args, {12, Tile::kColumns, Tile::Run});
}

void GemmBf16Pairs(const Context& context, const GemmArgs& args) {
  using Tile = RegisterTile<12, 2, Bf16PairProducts>;
  GemmTiled(context, args, {12, Tile::kColumns, Tile::Run});
}

}  // namespace kernels::avx512

#endif

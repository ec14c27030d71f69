list(APPEND KERNEL_SOURCES
  ops/gemm/avx2.cc
  ops/gemm/avx512.cc
  ops/gemm/avx512_bf16.cc
  ops/gemm/dispatch.cc
  ops/gemm/reference.cc
  ops/gemm/tiled.cc)

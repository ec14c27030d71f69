list(APPEND KERNEL_SOURCES
  ops/packed_linear/avx2.cc
  ops/packed_linear/avx512.cc
  ops/packed_linear/avx512_vnni.cc
  ops/packed_linear/check.cc
  ops/packed_linear/dispatch.cc
  ops/packed_linear/pack.cc
  ops/packed_linear/reference.cc
)

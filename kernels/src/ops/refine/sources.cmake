list(APPEND KERNEL_SOURCES
  ops/refine/avx2.cc
  ops/refine/avx512.cc
  ops/refine/check.cc
  ops/refine/dispatch.cc
  ops/refine/products.cc
  ops/refine/reference.cc)

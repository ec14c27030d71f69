list(APPEND KERNEL_SOURCES
  ops/gemm/dispatch.cc
  ops/gemm/reference.cc)

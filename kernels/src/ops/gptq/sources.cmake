list(APPEND KERNEL_SOURCES
  ops/gptq/avx2.cc
  ops/gptq/avx512.cc
  ops/gptq/check.cc
  ops/gptq/dispatch.cc
  ops/gptq/grid.cc
  ops/gptq/products.cc
  ops/gptq/reference.cc)

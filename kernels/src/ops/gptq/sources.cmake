list(APPEND KERNEL_SOURCES
  ops/gptq/avx2.cc
  ops/gptq/avx512.cc
  ops/gptq/check.cc
  ops/gptq/dispatch.cc
  ops/gptq/products.cc
  ops/gptq/reference.cc)
list(APPEND CUDA_SOURCES
  ops/gptq/cuda.cu
  ops/gptq/cuda_block.cu
  ops/gptq/cuda_products.cu
  ops/gptq/cuda_wide_block.cu)

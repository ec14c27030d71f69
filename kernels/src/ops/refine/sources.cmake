list(APPEND KERNEL_SOURCES
  ops/refine/avx2.cc
  ops/refine/avx512.cc
  ops/refine/check.cc
  ops/refine/dispatch.cc
  ops/refine/products.cc
  ops/refine/reference.cc)
list(APPEND CUDA_SOURCES
  ops/refine/cuda.cu
  ops/refine/cuda_products.cu
  ops/refine/cuda_wide_block.cu)

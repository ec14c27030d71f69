list(APPEND KERNEL_SOURCES
  ops/elementwise/avx2.cc
  ops/elementwise/avx512.cc
  ops/elementwise/check.cc
  ops/elementwise/dispatch.cc
  ops/elementwise/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/elementwise/cuda.cu
  ops/elementwise/cuda_count.cu
)

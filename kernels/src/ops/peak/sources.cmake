list(APPEND KERNEL_SOURCES
  ops/peak/avx2.cc
  ops/peak/avx512.cc
  ops/peak/dispatch.cc
  ops/peak/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/peak/cuda.cu
)

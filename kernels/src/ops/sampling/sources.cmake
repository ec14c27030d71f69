list(APPEND KERNEL_SOURCES
  ops/sampling/check.cc
  ops/sampling/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/sampling/cuda.cu
)

list(APPEND KERNEL_SOURCES
  ops/rope/check.cc
  ops/rope/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/rope/cuda.cu
)

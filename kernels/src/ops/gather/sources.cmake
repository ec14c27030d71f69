list(APPEND KERNEL_SOURCES
  ops/gather/check.cc
  ops/gather/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/gather/cuda.cu
)

list(APPEND KERNEL_SOURCES
  ops/embedding/check.cc
  ops/embedding/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/embedding/cuda.cu
)

list(APPEND KERNEL_SOURCES
  ops/hessian/check.cc
  ops/hessian/reference.cc)
list(APPEND CUDA_SOURCES
  ops/hessian/cuda.cu
)

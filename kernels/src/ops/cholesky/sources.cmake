list(APPEND KERNEL_SOURCES
  ops/cholesky/blocked.cc
  ops/cholesky/check.cc
  ops/cholesky/dispatch.cc
  ops/cholesky/reference.cc
  ops/cholesky/triangle.cc)
list(APPEND CUDA_SOURCES
  ops/cholesky/cuda.cu
  ops/cholesky/cuda_cusolver.cu
)

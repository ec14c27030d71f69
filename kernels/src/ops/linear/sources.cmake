list(APPEND KERNEL_SOURCES
  ops/linear/avx2.cc
  ops/linear/avx512.cc
  ops/linear/check.cc
  ops/linear/dispatch.cc
  ops/linear/reference.cc
  ops/linear/tasks.cc
)
list(APPEND CUDA_SOURCES
  ops/linear/cuda.cu
)

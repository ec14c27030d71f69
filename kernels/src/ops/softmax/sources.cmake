list(APPEND KERNEL_SOURCES
  ops/softmax/avx2.cc
  ops/softmax/avx512.cc
  ops/softmax/check.cc
  ops/softmax/dispatch.cc
  ops/softmax/reference.cc
  ops/softmax/select.cc
)
list(APPEND CUDA_SOURCES
  ops/softmax/cuda.cu
  ops/softmax/cuda_select.cu
)

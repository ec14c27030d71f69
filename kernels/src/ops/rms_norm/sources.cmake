list(APPEND KERNEL_SOURCES
  ops/rms_norm/avx2.cc
  ops/rms_norm/avx512.cc
  ops/rms_norm/check.cc
  ops/rms_norm/dispatch.cc
  ops/rms_norm/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/rms_norm/cuda.cu
)

list(APPEND KERNEL_SOURCES
  ops/cache_quantization/check.cc
  ops/cache_quantization/grid.cc
  ops/cache_quantization/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/cache_quantization/cuda.cu
)

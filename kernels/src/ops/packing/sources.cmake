list(APPEND KERNEL_SOURCES
  ops/packing/check.cc
  ops/packing/gptq_weight.cc
  ops/packing/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/packing/cuda.cu
  ops/packing/cuda_dequantize.cu
)

list(APPEND KERNEL_SOURCES
  ops/linear_gptq/avx2.cc
  ops/linear_gptq/avx512.cc
  ops/linear_gptq/check.cc
  ops/linear_gptq/dispatch.cc
  ops/linear_gptq/reference.cc
  ops/linear_gptq/tasks.cc
)
list(APPEND CUDA_SOURCES
  ops/linear_gptq/cuda.cu
)

list(APPEND KERNEL_SOURCES
  ops/head_screen/check.cc
  ops/head_screen/pack_rows.cc
  ops/head_screen/screened_argmax.cc
)
list(APPEND CUDA_SOURCES
  ops/head_screen/cuda.cu
  ops/head_screen/cuda_pack.cu
)

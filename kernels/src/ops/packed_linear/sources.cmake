list(APPEND KERNEL_SOURCES
  ops/packed_linear/avx2.cc
  ops/packed_linear/avx512.cc
  ops/packed_linear/avx512_vnni.cc
  ops/packed_linear/check.cc
  ops/packed_linear/dispatch.cc
  ops/packed_linear/pack.cc
  ops/packed_linear/reference.cc
)
list(APPEND CUDA_SOURCES
  ops/packed_linear/cuda.cu
  ops/packed_linear/cuda_few.cu
  ops/packed_linear/cuda_many.cu
  ops/packed_linear/cuda_pack.cu
)

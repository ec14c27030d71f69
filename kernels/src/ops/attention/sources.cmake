list(APPEND KERNEL_SOURCES
  ops/attention/avx2.cc
  ops/attention/avx512.cc
  ops/attention/blocks.cc
  ops/attention/check.cc
  ops/attention/dispatch.cc
  ops/attention/pages.cc
  ops/attention/reference.cc
  ops/attention/store.cc
)
list(APPEND CUDA_SOURCES
  ops/attention/cuda.cu
  ops/attention/cuda_rows.cu
  ops/attention/cuda_store.cu
  ops/attention/cuda_tiles.cu
)

list(APPEND KERNEL_SOURCES
  ops/softmax/avx2.cc
  ops/softmax/avx512.cc
  ops/softmax/check.cc
  ops/softmax/dispatch.cc
  ops/softmax/reference.cc
  ops/softmax/select.cc
)

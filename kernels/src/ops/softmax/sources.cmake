list(APPEND KERNEL_SOURCES
  ops/softmax/check.cc
  ops/softmax/dispatch.cc
  ops/softmax/reference.cc
  ops/softmax/select.cc
)

list(APPEND KERNEL_SOURCES
  ops/gather/check.cc
  ops/gather/reference.cc
)

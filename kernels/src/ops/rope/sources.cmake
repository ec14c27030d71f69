list(APPEND KERNEL_SOURCES
  ops/rope/check.cc
  ops/rope/reference.cc
)

list(APPEND KERNEL_SOURCES
  ops/linear/check.cc
  ops/linear/dispatch.cc
  ops/linear/reference.cc
)

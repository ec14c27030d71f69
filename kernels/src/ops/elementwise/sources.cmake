list(APPEND KERNEL_SOURCES
  ops/elementwise/check.cc
  ops/elementwise/dispatch.cc
  ops/elementwise/reference.cc
)

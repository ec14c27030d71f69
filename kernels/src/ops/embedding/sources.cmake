list(APPEND KERNEL_SOURCES
  ops/embedding/check.cc
  ops/embedding/reference.cc
)

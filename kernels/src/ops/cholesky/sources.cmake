list(APPEND KERNEL_SOURCES
  ops/cholesky/check.cc
  ops/cholesky/dispatch.cc
  ops/cholesky/reference.cc)

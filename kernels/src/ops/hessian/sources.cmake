list(APPEND KERNEL_SOURCES
  ops/hessian/check.cc
  ops/hessian/reference.cc)

list(APPEND KERNEL_SOURCES
  ops/rms_norm/check.cc
  ops/rms_norm/dispatch.cc
  ops/rms_norm/reference.cc
)

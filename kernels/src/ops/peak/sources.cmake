list(APPEND KERNEL_SOURCES
  ops/peak/avx2.cc
  ops/peak/avx512.cc
  ops/peak/peak.cc
  ops/peak/reference.cc
)

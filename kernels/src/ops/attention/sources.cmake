list(APPEND KERNEL_SOURCES
  ops/attention/check.cc
  ops/attention/dispatch.cc
  ops/attention/pages.cc
  ops/attention/reference.cc
  ops/attention/store.cc
)

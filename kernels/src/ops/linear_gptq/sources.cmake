list(APPEND KERNEL_SOURCES
  ops/linear_gptq/check.cc
  ops/linear_gptq/dispatch.cc
  ops/linear_gptq/reference.cc
)

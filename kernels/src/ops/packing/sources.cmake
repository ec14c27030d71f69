list(APPEND KERNEL_SOURCES
  ops/packing/check.cc
  ops/packing/gptq_weight.cc
  ops/packing/reference.cc
)

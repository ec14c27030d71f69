list(APPEND KERNEL_SOURCES
  ops/head_screen/check.cc
  ops/head_screen/pack_rows.cc
  ops/head_screen/screened_argmax.cc
)

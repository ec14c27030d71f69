# What the library of CUDA kernels is made of beside the operations.
list(APPEND CUDA_SOURCES
  cuda/cublas_lt.cc
  cuda/cusolver.cc
  cuda/session.cc
  cuda/uploads.cc
  cuda/vendor_library.cc
)
set(CUDA_PLATFORM_SOURCES cuda/platform_cuda.cu)
set(CUDA_EMULATION_SOURCES cuda/emulation.cc cuda/fiber.cc cuda/platform_emulation.cc)

#pragma once

#include "cuda/launch.h"

// Copies from global to shared memory that threads start and later wait for (cp.async, from sm_80
// on): the next tile arrives while this one is worked on. What a thread has copied is its own
// until a barrier after its wait.
namespace kernels::cuda {

#if defined(KERNELS_EMULATE_CUDA)

inline void CopyAsync16(void* to, const void* from) {
  emulation::StartCopy(to, from, 16);
}
inline void CommitCopies() {
  emulation::CommitCopies();
}
template <int groups_left>
void WaitCopies(const emulation::Site& site = emulation::Site::current()) {
  emulation::WaitCopies(groups_left, site);
}

#else

// Starts to copy 16 bytes; both addresses are multiples of 16.
__device__ __forceinline__ void CopyAsync16(void* to, const void* from) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}

// Ends a group: the copies that were started since the last one.
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until all but the last `groups_left` groups have landed.
template <int groups_left>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
}

#endif

}  // namespace kernels::cuda

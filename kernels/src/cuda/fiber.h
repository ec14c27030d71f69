#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kernels::cuda::emulation {

// Something that runs until it leaves and goes on from there when it is entered again.
struct Fiber {
  size_t stack = 0;  // which of the pool's stacks it has
  void* pointer = nullptr;
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
};

// The stacks of fibers, one of which runs at a time. Switching keeps the registers that a call must
// keep, and makes no system call.
class FiberPool {
 public:
  FiberPool() = default;
  ~FiberPool();
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  void Reserve(size_t fibers);
  // From the beginning of `entry`, which must leave and not return.
  void Start(Fiber& fiber, void (*entry)(void*), void* argument);
  void Enter(Fiber& fiber);
  void Leave(Fiber& fiber);

 private:
  static void Begin();

  std::vector<std::byte*> stacks_;
  void* outside_ = nullptr;  // stack pointer of who entered
  Fiber* running_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  const void* outside_bottom_ = nullptr;
  size_t outside_size_ = 0;
#endif
};

}  // namespace kernels::cuda::emulation

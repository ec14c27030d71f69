#include "cuda/fiber.h"

#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace kernels::cuda::emulation {

namespace {

constexpr size_t kStackBytes = size_t{256} << 10;

thread_local FiberPool* entered_pool = nullptr;

// What a fiber that left for good had on its stack is nobody's any more.
void Unpoison([[maybe_unused]] std::byte* stack) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, kStackBytes);
#endif
}

#if defined(__x86_64__)
// Saves the registers that a callee keeps and the stack pointer, and takes those of `to`.
extern "C" void NibbleSwitchStack(void** from, void* to);
asm(R"(
.text
.type NibbleSwitchStack, @function
NibbleSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size NibbleSwitchStack, .-NibbleSwitchStack
)");
constexpr size_t kSavedRegisters = 6;

// What is entered first: as if `begin` had been called from nowhere, its return address, then the
// registers it would keep.
void* Prepare(std::byte* stack, void (*begin)()) {
  auto** top = reinterpret_cast<void**>(stack + kStackBytes);
  top -= 2;  // aligned as at a call
  *top = reinterpret_cast<void*>(begin);
  top[1] = nullptr;
  for (size_t i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  return top;
}
#else
// Other processors: the same by the system's contexts, each of which lies on the stack it belongs
// to. Slower, since every switch is a system call.
void NibbleSwitchStack(void** from, void* to) {
  ucontext_t here;
  *from = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}

void* Prepare(std::byte* stack, void (*begin)()) {
  auto* context = new (stack) ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = stack + sizeof(ucontext_t);
  context->uc_stack.ss_size = kStackBytes - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, begin, 0);
  return context;
}
#endif

}  // namespace

FiberPool::~FiberPool() {
  for (std::byte* stack : stacks_) {
    Unpoison(stack);
    munmap(stack, kStackBytes);
  }
}

void FiberPool::Reserve(size_t fibers) {
  while (stacks_.size() < fibers) {
    void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) throw std::bad_alloc();
    stacks_.push_back(static_cast<std::byte*>(stack));
  }
}

void FiberPool::Start(Fiber& fiber, void (*entry)(void*), void* argument) {
  Unpoison(stacks_[fiber.stack]);
  fiber.entry = entry;
  fiber.argument = argument;
  fiber.pointer = Prepare(stacks_[fiber.stack], &FiberPool::Begin);
}

void FiberPool::Enter(Fiber& fiber) {
  entered_pool = this;
  running_ = &fiber;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stacks_[fiber.stack], kStackBytes);
#endif
  NibbleSwitchStack(&outside_, fiber.pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void FiberPool::Leave(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, outside_bottom_, outside_size_);
#endif
  NibbleSwitchStack(&fiber.pointer, outside_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, &outside_bottom_, &outside_size_);
#endif
}

void FiberPool::Begin() {
  FiberPool& pool = *entered_pool;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &pool.outside_bottom_, &pool.outside_size_);
#endif
  pool.running_->entry(pool.running_->argument);
  std::abort();
}

}  // namespace kernels::cuda::emulation

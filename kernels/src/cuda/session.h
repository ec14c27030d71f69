#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/tensor.h"
#include "cuda/backend.h"
#include "cuda/cublas_lt.h"
#include "cuda/cusolver.h"
#include "cuda/failure.h"
#include "cuda/platform.h"
#include "cuda/uploads.h"

// What the host side of a CUDA operation is written with.
namespace kernels::cuda {

// Where kernels say what they found wrong with their data, such as an id outside its table. The
// first report counts; the host reads it when it waits. It lies in device memory.
struct FaultRecord {
  int32_t reported;  // 0 or 1
  int32_t operation;
  int64_t index, value, lowest, limit;
};

// A device, its stream, its scratch memory and what is copied beside.
class Session {
 public:
  Session(int32_t device, const VendorChoice& choice);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  platform::Stream stream() const { return stream_; }
  FaultRecord* faults() const { return faults_; }
  int multiprocessors() const { return multiprocessors_; }

  // Makes this session's device the calling thread's.
  void Enter() const;
  // Waits for all that was enqueued. Throws what kernels reported.
  void Synchronize();

  // Memory for the operation that asks, until the next one that does: at least `bytes`, 256-byte
  // aligned. Throws kOutOfMemory.
  template <class T>
  T* Scratch(int64_t count) {
    return static_cast<T*>(ScratchBytes(static_cast<uint64_t>(count) * sizeof(T)));
  }

  // NVIDIA's libraries, opened when first asked for; null where there are none.
  const CublasLt* cublas_lt();
  const Cusolver* cusolver();
  // Throws kUnsupported where one that was chosen by file cannot be loaded.
  void OpenChosenLibraries();
  // By name and version; opens none for good. May be called from any thread.
  std::string DescribeLibraries() const;

  // Begun when first asked for.
  Uploads& uploads();

  // Between these, what is enqueued is captured.
  void BeginCapture();
  void* EndCapture();

 private:
  void* ScratchBytes(uint64_t bytes);

  const int32_t device_;
  const std::string chosen_cublas_lt_, chosen_cusolver_;
  platform::Stream stream_;
  FaultRecord* faults_;
  int multiprocessors_;
  void* scratch_ = nullptr;
  uint64_t scratch_bytes_ = 0;
  std::vector<void*> retired_scratch_;  // that graphs may still use
  bool is_capturing_ = false;
  bool has_graphs_ = false;
  std::optional<std::unique_ptr<CublasLt>> cublas_lt_;
  std::optional<std::unique_ptr<Cusolver>> cusolver_;
  std::unique_ptr<Uploads> uploads_;
};

// What reports are printed with: "{text}[index] is value; expected lowest to limit - 1".
int32_t RegisterFault(const char* text);

std::vector<OperationEntry>& Entries();

// An operation under its name in kernels/native.ts; lives at namespace scope in its file.
template <class Args, void (*Run)(Session&, const Args&)>
struct Operation {
  explicit Operation(const char* name) {
    static_assert(std::is_trivially_copyable_v<Args>);
    Entries().push_back({name, sizeof(Args), &Call});
  }

  static bool Call(void* session, const void* args, Failure* failure) {
    return Protect(failure, [&] {
      auto& entered = *static_cast<Session*>(session);
      entered.Enter();
      Run(entered, *static_cast<const Args*>(args));
    });
  }
};

}  // namespace kernels::cuda

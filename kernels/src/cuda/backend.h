#pragma once

#include <cstddef>
#include <cstdint>

#include "core/error.h"

// The border between the addon and the library of CUDA kernels: C functions in a versioned table,
// so that the addon needs neither CUDA nor the library, and refuses one that is not its own.
namespace kernels::cuda {

// To be raised with every change of this file, of Tensor or of an operation's arguments.
constexpr uint32_t kBackendVersion = 4;

// Filled in by a function that returns false or null.
struct Failure {
  Code code = Code::kInternal;
  char message[1000] = {};
};

struct DeviceDescription {
  char name[256];
  uint64_t memory_bytes;
  int32_t major, minor;  // compute capability
  int32_t multiprocessors;
};

struct OperationEntry {
  const char* name;         // as in kernels/native.ts
  uint64_t argument_bytes;  // of its Args, which must not have changed since
  bool (*run)(void* session, const void* args, Failure* failure);
};

// What an upload copies. Both functions are called on a thread of the session: `read` for one part
// after another, `release` once, whether or not all was read. The context is not null.
struct UploadSource {
  void* context;
  bool (*read)(void* context, void* to, uint64_t begin, uint64_t bytes, Failure* failure);
  void (*release)(void* context);
};

// Which of NVIDIA's libraries to use: a file, "off", or empty for what the system finds.
struct VendorChoice {
  const char* cublas_lt;
  const char* cusolver;
};

struct Backend {
  uint32_t version;
  uint32_t table_bytes;
  const char* name;  // "cuda", or "emulation" on the processor

  bool (*count_devices)(int32_t* count, Failure* failure);
  bool (*describe)(int32_t device, DeviceDescription* description, Failure* failure);

  // A session: one device and one stream. Its functions may come from any thread, but for
  // `allocate` and `allocate_pinned` not from two at a time.
  void* (*open)(int32_t device, const VendorChoice* choice, Failure* failure);
  void (*close)(void* session);
  // Of NVIDIA's libraries, those that the quantizer's operations use, by name and version. From any
  // thread.
  bool (*describe_libraries)(void* session, char* text, uint64_t bytes, Failure* failure);
  // Null: no memory left, or the failure has a message.
  void* (*allocate)(void* session, uint64_t bytes, Failure* failure);
  // Waits for what is running, as do release_pinned and release_graph.
  void (*release)(void* session, void* data);
  // The host's memory, pinned, which kernels may read and write by the same address.
  void* (*allocate_pinned)(void* session, uint64_t bytes, Failure* failure);
  void (*release_pinned)(void* session, void* data);
  bool (*write)(void* session, void* to, const void* host, uint64_t bytes, Failure* failure);
  // Copies beside what is enqueued from here on, which must not touch the memory until it has
  // awaited the upload, or has dropped it because it is not wanted any more; nor may it be released
  // before. Uploads are numbered by the caller, rising; a number that was never uploaded is awaited
  // and dropped in vain. await_uploads waits for all up to a number, and fails with what kept any
  // upload from being read or copied.
  bool (*upload)(void* session, uint64_t number, void* to, uint64_t bytes, UploadSource source,
                 Failure* failure);
  bool (*await_uploads)(void* session, uint64_t number, Failure* failure);
  void (*drop_upload)(void* session, uint64_t number);
  bool (*clear)(void* session, void* data, uint64_t bytes, Failure* failure);
  // These wait. Both fail with what a kernel found wrong with its data.
  bool (*read)(void* session, void* host, const void* from, uint64_t bytes, Failure* failure);
  bool (*synchronize)(void* session, Failure* failure);

  // Null where operations cannot be captured.
  bool (*begin_capture)(void* session, Failure* failure);
  void* (*end_capture)(void* session, Failure* failure);
  bool (*launch)(void* session, void* graph, Failure* failure);
  void (*release_graph)(void* session, void* graph);

  const OperationEntry* operations;
  uint64_t operation_count;
};

}  // namespace kernels::cuda

// The only symbol of the library.
constexpr const char* kNibbleCudaBackendSymbol = "NibbleCudaBackend";

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace kernels {

// What holds a device's memory and runs its operations when that is not the host. Everything but
// Allocate, AllocatePinned and Find is called on the device's stream, in order; errors are thrown
// as Error.
class Accelerator {
 public:
  virtual ~Accelerator() = default;

  // Null where there is not enough memory left. Called from the owner's thread, as is
  // AllocatePinned.
  virtual std::byte* Allocate(size_t bytes) = 0;
  virtual void Release(std::byte* data) = 0;
  // The host's memory that operations can use as well, more slowly: for what they touch little of.
  virtual std::byte* AllocatePinned(size_t bytes) = 0;
  virtual void ReleasePinned(std::byte* data) = 0;

  virtual void Write(std::byte* to, const std::byte* host, size_t bytes) = 0;

  // Copies what the reader gives of a part [begin, begin + bytes), beside the operations from here
  // on. They must not touch the memory until they have awaited the upload, or dropped it because it
  // is not wanted any more; nor may it be released before. The caller numbers uploads, rising. The
  // reader is called, and goes, on a thread of the accelerator's.
  using UploadReader = std::function<void(std::byte* to, size_t begin, size_t bytes)>;
  virtual void Upload(uint64_t number, std::byte* to, size_t bytes, UploadReader reader) = 0;
  // All up to a number. Throws what kept any upload from being read or copied.
  virtual void AwaitUploads(uint64_t number) = 0;
  virtual void DropUpload(uint64_t number) = 0;

  virtual void Clear(std::byte* data, size_t bytes) = 0;
  // These wait for everything before them, and throw what a kernel found wrong with its data.
  virtual void Read(std::byte* host, const std::byte* from, size_t bytes) = 0;
  virtual void Synchronize() = 0;

  // An implementation of the operation whose arguments take so many bytes. Throws kUnsupported
  // where there is none.
  using Operation = void (*)(Accelerator&, const void* entry, const void* args);
  struct Found {
    Accelerator* accelerator;
    Operation operation;
    const void* entry;
    void operator()(const void* args) const { operation(*accelerator, entry, args); }
  };
  virtual Found Find(const char* name, size_t argument_bytes) = 0;

  // Of its maker's, those that operations use, by name and version. From the owner's thread.
  virtual std::string VendorLibraries() = 0;

  // Between these, operations are recorded by the accelerator itself instead of run. EndCapture
  // returns what Launch runs; null where it cannot.
  virtual bool BeginCapture() = 0;
  virtual void* EndCapture() = 0;
  virtual void Launch(void* graph) = 0;
  virtual void ReleaseGraph(void* graph) = 0;
};

}  // namespace kernels

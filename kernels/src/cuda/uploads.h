#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "cuda/backend.h"
#include "cuda/platform.h"

namespace kernels::cuda {

struct OwnStream {
  platform::Stream stream = platform::NewStream();
  OwnStream() = default;
  ~OwnStream() { platform::DeleteStream(stream); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
};

struct OwnEvent {
  platform::Event event = platform::NewEvent();
  OwnEvent() = default;
  ~OwnEvent() { platform::DeleteEvent(event); }
  OwnEvent(const OwnEvent&) = delete;
  OwnEvent& operator=(const OwnEvent&) = delete;
};

class OwnSource {
 public:
  explicit OwnSource(UploadSource source)
      : context_(source.context, source.release), read_(source.read) {}
  // Throws what the source failed with.
  void Read(void* to, uint64_t begin, uint64_t bytes) const;
  void Release() { context_.reset(); }

 private:
  std::unique_ptr<void, void (*)(void*)> context_;
  decltype(UploadSource::read) read_;
};

// Copies to a device beside what its stream of operations does. A thread of its own reads what is
// to be copied into pinned memory, from where a second stream takes it over, in the order asked
// for. Everything is called on the thread that enqueues operations.
class Uploads {
 public:
  Uploads(int32_t device, platform::Stream operations);
  // What has not been copied yet is dropped.
  ~Uploads();
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;

  // Operations enqueued so far may still use the memory; those enqueued from here on must not,
  // until they have awaited the upload or it was dropped. Numbers rise.
  void Add(uint64_t number, void* to, uint64_t bytes, OwnSource source);
  // Operations enqueued from here on find the uploads up to `number`. Throws what kept any upload
  // from being copied.
  void Await(uint64_t number);
  // An upload that is not wanted any more.
  void Drop(uint64_t number);

 private:
  struct Upload {
    uint64_t number;
    void* to;
    uint64_t bytes;
    OwnSource source;
    bool is_dropped = false;
  };
  struct Chunk {
    void* data = nullptr;  // pinned
    OwnEvent copied;
    ~Chunk() { platform::ReleasePinned(data); }
  };

  void Loop();
  void Copy(const Upload& upload);
  bool IsWanted(const Upload& upload);
  Chunk& NextChunk();
  // Until the thread is through with the uploads up to `number`.
  void WaitUntilIssued(std::unique_lock<std::mutex>& lock, uint64_t number);

  const int32_t device_;
  const platform::Stream operations_;
  // Enough in flight that a link is busy while one is filled.
  std::array<Chunk, 16> chunks_;
  size_t next_chunk_ = 0;
  OwnStream stream_;  // ends before the chunks do
  OwnEvent unused_;   // no operation uses the memory of what was asked for last any more

  std::mutex mutex_;  // for all that follows
  std::condition_variable wake_, issued_;
  std::deque<Upload> queue_;  // the thread is at the first
  std::optional<Error> fault_;
  OwnEvent landed_;  // all that the thread has issued is there
  bool stops_ = false;

  uint64_t awaited_ = 0;  // not for the thread
  std::thread thread_;
};

}  // namespace kernels::cuda

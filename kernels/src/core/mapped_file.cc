#include "core/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "core/error.h"

namespace kernels {

namespace {

// What a signal handler may look at: no locks, no allocation. Mappings beyond the last slot are not
// guarded.
struct Range {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::string path;  // not for the handler
};
std::array<Range, 1024> ranges;
std::atomic<int64_t> losses{0};
std::atomic<const Range*> latest_loss{nullptr};
struct sigaction previous_action{};

static_assert(std::atomic<uintptr_t>::is_always_lock_free);
static_assert(std::atomic<int64_t>::is_always_lock_free);

// Puts zeros in the place of the rest of the mapping, so that the access that failed can be
// repeated.
bool ReplaceLostPages(uintptr_t address, const Range& range) {
  const uintptr_t begin = range.begin;
  const uintptr_t end = range.end;
  if (address < begin || address >= end) return false;
  const uintptr_t page = address - (address - begin) % static_cast<uintptr_t>(getpagesize());
  void* zeros = mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  return zeros != MAP_FAILED;
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  for (const Range& range : ranges) {
    if (!ReplaceLostPages(reinterpret_cast<uintptr_t>(info->si_addr), range)) continue;
    latest_loss = &range;
    ++losses;
    errno = saved_errno;
    return;
  }
  errno = saved_errno;
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else {
    // The access is repeated on return and meets whoever was responsible before us.
    sigaction(SIGBUS, &previous_action, nullptr);
  }
}

void GuardMappings() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action{};
    action.sa_sigaction = OnBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_action);
  });
}

constexpr const char* kLost = ": became shorter while it was in use, or its disk failed";

std::mutex ranges_mutex;  // among writers only

void AddRange(const std::byte* data, int64_t bytes, const std::string& path) {
  const std::lock_guard lock(ranges_mutex);
  for (Range& range : ranges) {
    if (range.end != 0) continue;
    range.path = path;
    range.begin = reinterpret_cast<uintptr_t>(data);
    range.end = reinterpret_cast<uintptr_t>(data) + bytes;
    return;
  }
}

void RemoveRange(const std::byte* data) {
  const std::lock_guard lock(ranges_mutex);
  for (Range& range : ranges) {
    if (range.begin != reinterpret_cast<uintptr_t>(data)) continue;
    range.end = 0;
    range.begin = 0;
    range.path.clear();
    return;
  }
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // Non-blocking, because opening a pipe would wait for its writer; regular files do not care.
  file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) throw Error(Code::kFile, path + ": cannot open: " + std::strerror(errno));
  const auto fail = [&](const std::string& problem) {
    close(file_);
    throw Error(Code::kFile, path + ": " + problem);
  };
  struct stat status{};
  if (fstat(file_, &status) != 0 || !S_ISREG(status.st_mode)) fail("not a regular file");
  bytes_ = status.st_size;
  if (bytes_ == 0) return;
  void* data = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file_, 0);
  if (data == MAP_FAILED) fail(std::string("cannot map: ") + std::strerror(errno));
  data_ = static_cast<std::byte*>(data);
  GuardMappings();
  AddRange(data_, bytes_, path_);
}

void MappedFile::Read(std::byte* to, int64_t offset, int64_t bytes) const {
  while (bytes > 0) {
    const ssize_t count = pread(file_, to, bytes, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw Error(Code::kFile, path_ + ": cannot be read: " + std::strerror(errno));
    }
    if (count == 0) throw Error(Code::kFile, path_ + kLost);
    to += count;
    offset += count;
    bytes -= count;
  }
}

void MappedFile::Evict(int64_t offset, int64_t bytes) const {
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t begin = (offset + page - 1) / page * page;
  const int64_t end = (offset + bytes) / page * page;
  // A hint: where it is refused, the pages stay.
  if (begin < end) madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  close(file_);
  if (data_ == nullptr) return;
  RemoveRange(data_);
  munmap(data_, bytes_);
}

int64_t MappedFile::Losses() {
  return losses;
}

void MappedFile::RequireNoLossSince(int64_t before) {
  if (losses == before) return;
  const std::lock_guard lock(ranges_mutex);
  const Range* range = latest_loss;
  // Empty if it is closed by now.
  const std::string path = range == nullptr ? "" : range->path;
  throw Error(Code::kFile, path + kLost);
}

}  // namespace kernels

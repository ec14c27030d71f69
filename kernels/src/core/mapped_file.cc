#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace kernels {

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // Non-blocking, because opening a pipe would wait for its writer; regular files do not care.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) throw Error(Code::kFile, path + ": cannot open: " + std::strerror(errno));
  struct stat status{};
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(file);
    throw Error(Code::kFile, path + ": not a regular file");
  }
  bytes_ = status.st_size;
  if (bytes_ > 0) {
    void* data = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file, 0);
    const int reason = errno;
    close(file);
    if (data == MAP_FAILED) {
      throw Error(Code::kFile, path + ": cannot map: " + std::strerror(reason));
    }
    data_ = static_cast<std::byte*>(data);
  } else {
    close(file);
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
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace kernels

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace kernels {

// A whole file mapped read-only. The mapping has no size limit; pages are read when touched. Pages
// that the file has no more when they are touched, because it was cut or its disk failed, read as
// zeros and count as lost: the alternative is the end of the process. Streams fault on them.
class MappedFile {
 public:
  // Throws Error kFile, naming path and reason.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

  // Copies a part without touching the mapping. Throws Error kFile where the file has it no more.
  void Read(std::byte* to, int64_t offset, int64_t bytes) const;

  // Lets the pages that lie wholly inside the range go; they are read again when touched.
  void Evict(int64_t offset, int64_t bytes) const;

  // How often pages of any mapping were lost so far in this process.
  static int64_t Losses();
  // Throws Error kFile, naming the file of the latest loss, if there were others than so many.
  static void RequireNoLossSince(int64_t losses);

 private:
  std::string path_;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
  int file_ = -1;
};

}  // namespace kernels

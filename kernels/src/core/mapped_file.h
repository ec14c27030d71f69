#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace kernels {

// A whole file mapped read-only. The mapping has no size limit; pages are read when touched.
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

  // Lets the pages that lie wholly inside the range go; they are read again when touched.
  void Evict(int64_t offset, int64_t bytes) const;

 private:
  std::string path_;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace kernels

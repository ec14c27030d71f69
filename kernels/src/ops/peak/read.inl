// Plain loops for the compiler to vectorize with the instructions of the region.
uint64_t Read(const uint64_t* data, int64_t lines) {
  constexpr int kWords = 32;  // four lines at a time
  uint64_t sums[kWords] = {};
  int64_t line = 0;
  for (; line + 4 <= lines; line += 4, data += kWords) {
    for (int i = 0; i < kWords; ++i) sums[i] ^= data[i];
  }
  for (; line < lines; ++line, data += 8) {
    for (int i = 0; i < 8; ++i) sums[i] ^= data[i];
  }
  uint64_t sum = 0;
  for (int i = 0; i < kWords; ++i) sum ^= sums[i];
  return sum;
}

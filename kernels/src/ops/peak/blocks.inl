// Runs kPeakSums independent chains of one instruction; the includer defines Vector.
template <class Instruction>
int64_t RunBlocks(int64_t repeats, const Instruction& instruction, int64_t multiply_adds) {
  Vector sums[kPeakSums];
#pragma GCC unroll 12
  for (int i = 0; i < kPeakSums; ++i) sums[i] = Vector{};
  Vector x = Vector{};
  for (int64_t r = 0; r < repeats; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kPeakSums; ++i) instruction(sums[i], x);
  }
#pragma GCC unroll 12
  for (int i = 0; i < kPeakSums; ++i) asm volatile("" : : "v"(sums[i]));
  return kPeakSums * multiply_adds;
}

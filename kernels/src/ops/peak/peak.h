#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// What the machine can do at this moment, for measurements to be compared with. Not operations on
// data: their results only keep the work from being left out.

// Reads all of x once, in `pieces` pieces that threads take in turn.
struct ReadAllArgs {
  Tensor x;  // [n] u8, dense, aligned to 64 bytes
  int64_t pieces;
  Tensor y;  // [1] i32, out: the exclusive or of all whole lines
};
void CheckReadAll(const ReadAllArgs& args);
void ReadAll(const Context& context, const ReadAllArgs& args);

// Multiply-adds in registers, by every thread at once.
enum class PeakKind : int {
  kF32 = 0,
  kBf16 = 1,   // pairs of bf16, summed in f32
  kInt16 = 2,  // pairs of 16 bits, summed in 32
  kInt8 = 3,   // four times 8 bits, summed in 32
};

struct ArithmeticPeakArgs {
  PeakKind kind;
  int64_t repeats;  // of a block of kPeakSums independent vector instructions
  Tensor y;         // [1] f32, out: multiply-adds of all threads in millions; 0: no instruction
};
void CheckArithmeticPeak(const ArithmeticPeakArgs& args);
void ArithmeticPeak(const Context& context, const ArithmeticPeakArgs& args);

}  // namespace kernels

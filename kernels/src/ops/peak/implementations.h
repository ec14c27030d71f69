#pragma once

#include "ops/peak/peak.h"

// What dispatch.cc chooses from.
namespace kernels {

// Independent sums, to hide the latency of an instruction.
constexpr int kPeakSums = 12;

// The exclusive or of `lines` lines of 64 bytes.
using ReadLines = uint64_t (*)(const uint64_t* data, int64_t lines);
// Runs `repeats` blocks; returns multiply-adds per block, or 0 without the instruction.
using RunPeak = int64_t (*)(PeakKind kind, int64_t repeats);

namespace reference {
uint64_t Read(const uint64_t* data, int64_t lines);
int64_t Peak(PeakKind kind, int64_t repeats);
}  // namespace reference

#if defined(__x86_64__)
namespace avx2 {
uint64_t Read(const uint64_t* data, int64_t lines);
int64_t Peak(PeakKind kind, int64_t repeats);
}  // namespace avx2
namespace avx512 {
uint64_t Read(const uint64_t* data, int64_t lines);
int64_t Peak(PeakKind kind, int64_t repeats);
}  // namespace avx512
namespace avx512vnni {
int64_t Peak(PeakKind kind, int64_t repeats);
}
namespace avx512bf16 {
int64_t Peak(PeakKind kind, int64_t repeats);
}
#endif

}  // namespace kernels

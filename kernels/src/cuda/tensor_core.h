#pragma once

#include "cuda/launch.h"

// Products of small matrices by the 32 lanes of a warp together (mma.sync, from sm_80 on; PTX ISA,
// "Matrix multiply-accumulate operation using mma instruction"). With g = lane / 4 and
// t = lane % 4, and registers of w bf16 pairs or w groups of four bytes:
//
//   A, 16 rows, K-major:   a[0] row g, a[1] row g + 8, both at K word t; a[2], a[3] at word t + 4
//   B, 8 columns, K-major: b[0] column g at K word t, b[1] at word t + 4
//   C, 16 x 8:             c[0], c[1] row g, columns 2t and 2t + 1; c[2], c[3] row g + 8
//
// A K word is two bf16 of 16, or four bytes of 32; the lower half or byte comes first.
namespace kernels::cuda {

struct LanePlace {
  int g, t;
};
__device__ __forceinline__ LanePlace PlaceOfLane() {
  const int thread = static_cast<int>(threadIdx.x);
  return {thread % kWarpSize / 4, thread % 4};  // not lane % 4: that cost products registers
}

#if defined(KERNELS_EMULATE_CUDA)

namespace emulation {

struct Operands {
  uint32_t a[4], b[2];
};

// c += A B with A's and B's fragments of all lanes; `dot` multiplies two K words.
template <class Sum, class Dot>
void Multiply(Sum c[4], const uint32_t a[4], const uint32_t b[2], const Site& site, Dot dot) {
  Operands mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const auto* all = Exchange(&mine, sizeof mine);
  // The mutation: rows are swapped. K words swapped in A and B alike would give the same sum.
  const unsigned swap = IsMutated(site) ? 4 : 0;
  const auto lane_of = [&](unsigned lane) {
    Operands operands;
    std::memcpy(&operands, all[lane ^ swap], sizeof operands);
    return operands;
  };
  const unsigned g = Lane() / 4;
  const unsigned t = Lane() % 4;
  for (unsigned word = 0; word < 8; ++word) {
    const Operands left = lane_of(g * 4 + word % 4);
    for (unsigned column = 0; column < 2; ++column) {
      const uint32_t right = lane_of((2 * t + column) * 4 + word % 4).b[word / 4];
      c[column] = dot(left.a[word / 4 * 2], right, c[column]);
      c[column + 2] = dot(left.a[word / 4 * 2 + 1], right, c[column + 2]);
    }
  }
}

}  // namespace emulation

inline void MmaBf16(float c[4], const uint32_t a[4], const uint32_t b[2],
                    const emulation::Site& site = emulation::Site::current()) {
  emulation::Multiply(c, a, b, site, [](uint32_t x, uint32_t y, float sum) {
    const auto part = [](uint32_t word, int half) {
      return ToFloat(BF16{static_cast<uint16_t>(word >> (16 * half))});
    };
    return static_cast<float>(double{sum} + double{part(x, 0)} * part(y, 0) +
                              double{part(x, 1)} * part(y, 1));
  });
}

inline void MmaU8S8(int32_t c[4], const uint32_t a[4], const uint32_t b[2],
                    const emulation::Site& site = emulation::Site::current()) {
  emulation::Multiply(c, a, b, site, [](uint32_t x, uint32_t y, int32_t sum) {
    for (int byte = 0; byte < 4; ++byte) {
      sum += static_cast<int32_t>(static_cast<uint8_t>(x >> (8 * byte))) *
             static_cast<int8_t>(static_cast<uint8_t>(y >> (8 * byte)));
    }
    return sum;
  });
}

#else

// c += A B, A [16, 16] and B [16, 8] of bf16, in f32.
__device__ __forceinline__ void MmaBf16(float c[4], const uint32_t a[4], const uint32_t b[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// c += A B, A [16, 32] of unsigned and B [32, 8] of signed bytes; exact.
__device__ __forceinline__ void MmaU8S8(int32_t c[4], const uint32_t a[4], const uint32_t b[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

}  // namespace kernels::cuda

#pragma once

#include "cuda/launch.h"
#include "ops/packing/units.h"

// A tile of codes in shared memory, between the side of a weight that is walked along its inputs
// and the one that is walked along its outputs: 64 outputs by 128 inputs, four codes to a word, an
// odd number of words to a row (no bank conflicts down a column).
namespace kernels::cuda {

constexpr int kPackingThreads = 256;
constexpr int kTileOutputs = 64;
constexpr int kTileInputs = 128;
constexpr int kChunk = 16;  // codes that are moved at once

using CodeTile = uint32_t[kTileOutputs][kTileInputs / 4 + 1];

struct TilePlace {
  int64_t output, input;  // of the tile's first
  int64_t outputs, inputs;
};

struct TileGrid {
  int64_t across;  // tiles along the inputs
  int64_t outputs, inputs;

  __device__ TilePlace Here() const {
    return {int64_t{blockIdx.x} / across * kTileOutputs, int64_t{blockIdx.x} % across * kTileInputs,
            outputs, inputs};
  }
};

inline TileGrid GridOf(int64_t outputs, int64_t inputs) {
  return {CeilDivide(inputs, kTileInputs), outputs, inputs};
}
inline Shape ShapeOf(const TileGrid& grid) {
  return {.blocks_x = BlockCount(grid.across * CeilDivide(grid.outputs, kTileOutputs)),
          .threads = kPackingThreads};
}

// Whether rows may be read and written 16 bytes at a time.
inline bool RowsAreAligned(const Tensor& tensor) {
  const int64_t stride = tensor.rank > 1 ? tensor.stride[0] : 0;
  return (reinterpret_cast<uintptr_t>(tensor.data) | stride * DTypeBytes(tensor.dtype)) % 16 == 0;
}

// f(row of the tile, first code in it, how many there are) for this thread's share of chunks.
template <class F>
__device__ void ForChunks(const TilePlace& place, F f) {
  constexpr int kAcross = kTileInputs / kChunk;
  for (int i = static_cast<int>(threadIdx.x); i < kTileOutputs * kAcross; i += kPackingThreads) {
    const int row = i / kAcross;
    const int first = i % kAcross * kChunk;
    const int64_t left = place.inputs - place.input - first;
    if (place.output + row >= place.outputs || left <= 0) continue;
    f(row, first, static_cast<int>(left < kChunk ? left : kChunk));
  }
}

__device__ inline void LoadCodes(const TilePlace& place, Matrix<const uint8_t> codes, bool aligned,
                                 CodeTile& tile) {
  ForChunks(place, [&](int row, int first, int count) {
    const uint8_t* from = codes.Row(place.output + row) + place.input + first;
    uint32_t* to = tile[row] + first / 4;
    if (aligned && count == kChunk) {
      const uint4 four = *reinterpret_cast<const uint4*>(from);
      to[0] = four.x;
      to[1] = four.y;
      to[2] = four.z;
      to[3] = four.w;
      return;
    }
    // Counts are multiples of 4: a unit has at least as many codes.
    for (int i = 0; i < count; i += 4) {
      to[i / 4] = from[i] | uint32_t{from[i + 1]} << 8 | uint32_t{from[i + 2]} << 16 |
                  uint32_t{from[i + 3]} << 24;
    }
  });
}

__device__ inline void StoreCodes(const TilePlace& place, const CodeTile& tile, bool aligned,
                                  Matrix<uint8_t> codes) {
  ForChunks(place, [&](int row, int first, int count) {
    uint8_t* to = codes.Row(place.output + row) + place.input + first;
    const uint32_t* from = tile[row] + first / 4;
    if (aligned && count == kChunk) {
      *reinterpret_cast<uint4*>(to) = {from[0], from[1], from[2], from[3]};
      return;
    }
    for (int i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(from[i / 4] >> (i % 4 * 8));
  });
}

// f(row of the tile, unit in it, unit of the weight, output) for this thread's share of units;
// neighbouring threads have neighbouring outputs.
template <int kBits, class F>
__device__ void ForUnits(const TilePlace& place, F f) {
  constexpr int kUnits = kTileInputs / UnitCodes(kBits);
  const int64_t first_unit = place.input / UnitCodes(kBits);
  const int64_t units = place.inputs / UnitCodes(kBits);
  for (int i = static_cast<int>(threadIdx.x); i < kTileOutputs * kUnits; i += kPackingThreads) {
    const int row = i % kTileOutputs;
    const int unit = i / kTileOutputs;
    if (place.output + row >= place.outputs || first_unit + unit >= units) continue;
    f(row, unit, first_unit + unit, place.output + row);
  }
}

// The tile's codes from the words of a weight.
template <int kBits>
__device__ void UnpackTile(const TilePlace& place, Matrix<const int32_t> qweight, CodeTile& tile) {
  constexpr int kCodes = UnitCodes(kBits);
  constexpr int kWords = UnitWords(kBits);
  ForUnits<kBits>(place, [&](int row, int unit, int64_t weight_unit, int64_t output) {
    int32_t words[kWords];
    for (int w = 0; w < kWords; ++w) words[w] = qweight.Row(weight_unit * kWords + w)[output];
    uint32_t quads[kCodes / 4] = {};
    UnpackUnit<kBits>(words, 1, [&](int j, uint32_t code) { quads[j / 4] |= code << (j % 4 * 8); });
    for (int i = 0; i < kCodes / 4; ++i) tile[row][unit * (kCodes / 4) + i] = quads[i];
  });
}

}  // namespace kernels::cuda

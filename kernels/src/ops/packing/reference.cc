#include <algorithm>

#include "core/widen.h"
#include "ops/packing/gptq_weight.h"
#include "ops/packing/packing.h"
#include "ops/packing/units.h"

namespace kernels {

namespace {

// Every loop here reads one matrix along rows and writes another along columns, so it walks square
// tiles: both sides of a tile stay in the L1 cache. Tiles also are the unit of threading.
constexpr int64_t kTile = 64;

struct Tile {
  int64_t row_begin, row_end;
  int64_t column_begin, column_end;
};

template <class Body>
void ForEachTile(const Context& context, int64_t rows, int64_t columns, const Body& body) {
  const int64_t across = (columns + kTile - 1) / kTile;
  const int64_t down = (rows + kTile - 1) / kTile;
  const auto run = [&](int64_t index) {
    const int64_t row = index / across * kTile;
    const int64_t column = index % across * kTile;
    body(Tile{row, std::min(row + kTile, rows), column, std::min(column + kTile, columns)});
  };
  if (down * across <= 8) {  // not worth waking threads
    for (int64_t i = 0; i < down * across; ++i) run(i);
    return;
  }
  context.pool.ParallelFor(down * across, [&](int64_t index, int) { run(index); });
}

void StoreFloat(float value, float* to) {
  *to = value;
}
void StoreFloat(float value, F16* to) {
  *to = ToF16(value);
}
void StoreFloat(float value, BF16* to) {
  *to = ToBF16(value);
}

template <class From, class To>
void TransposeAs(const Context& context, const TransposeArgs& args) {
  const int64_t rows = args.x.shape[0];
  To* y = args.y.As<To>();
  ForEachTile(context, rows, args.x.shape[1], [&](const Tile& tile) {
    for (int64_t c = tile.column_begin; c < tile.column_end; ++c) {
      for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
        StoreFloat(ToFloat(args.x.Row<const From>(r)[c]), y + c * rows + r);
      }
    }
  });
}

template <class From>
void TransposeFrom(const Context& context, const TransposeArgs& args) {
  switch (args.y.dtype) {
    case DType::kF16:
      return TransposeAs<From, F16>(context, args);
    case DType::kBF16:
      return TransposeAs<From, BF16>(context, args);
    default:
      return TransposeAs<From, float>(context, args);
  }
}

}  // namespace

void PackWeight(const Context& context, const PackWeightArgs& args) {
  WithBits(args.bits, [&](auto bits) {
    constexpr int kCodes = UnitCodes(bits);
    constexpr int kWords = UnitWords(bits);
    const int64_t units = args.qweight.shape[0] / kWords;
    ForEachTile(context, units, args.qweight.shape[1], [&](const Tile& tile) {
      for (int64_t u = tile.row_begin; u < tile.row_end; ++u) {
        for (int64_t o = tile.column_begin; o < tile.column_end; ++o) {
          const uint8_t* codes = args.codes.Row<const uint8_t>(o) + u * kCodes;
          uint32_t words[kWords];
          PackUnit<bits>(words, [&](int j) { return uint32_t{codes[j]}; });
          for (int w = 0; w < kWords; ++w) {
            args.qweight.Row<int32_t>(u * kWords + w)[o] = static_cast<int32_t>(words[w]);
          }
        }
      }
    });
  });
}

void UnpackWeight(const Context& context, const UnpackWeightArgs& args) {
  WithBits(args.bits, [&](auto bits) {
    constexpr int kCodes = UnitCodes(bits);
    constexpr int kWords = UnitWords(bits);
    const int64_t units = args.qweight.shape[0] / kWords;
    ForEachTile(context, units, args.qweight.shape[1], [&](const Tile& tile) {
      for (int64_t u = tile.row_begin; u < tile.row_end; ++u) {
        const int32_t* words = args.qweight.Row<const int32_t>(u * kWords);
        for (int64_t o = tile.column_begin; o < tile.column_end; ++o) {
          uint8_t* codes = args.codes.Row<uint8_t>(o) + u * kCodes;
          UnpackUnit<bits>(words + o, args.qweight.stride[0],
                           [&](int j, uint32_t code) { codes[j] = static_cast<uint8_t>(code); });
        }
      }
    });
  });
}

void PackZeros(const Context& context, const PackZerosArgs& args) {
  const uint32_t offset = static_cast<uint32_t>(args.zero_offset);
  WithBits(args.bits, [&](auto bits) {
    constexpr int kCodes = UnitCodes(bits);
    constexpr int kWords = UnitWords(bits);
    const int64_t units = args.qzeros.shape[1] / kWords;
    ForEachTile(context, args.qzeros.shape[0], units, [&](const Tile& tile) {
      for (int64_t g = tile.row_begin; g < tile.row_end; ++g) {
        for (int64_t u = tile.column_begin; u < tile.column_end; ++u) {
          uint32_t words[kWords];
          PackUnit<bits>(words, [&](int j) {
            return static_cast<uint32_t>(args.zeros.Row<const int32_t>(u * kCodes + j)[g]) - offset;
          });
          for (int w = 0; w < kWords; ++w) {
            args.qzeros.Row<int32_t>(g)[u * kWords + w] = static_cast<int32_t>(words[w]);
          }
        }
      }
    });
  });
}

void UnpackZeros(const Context& context, const UnpackZerosArgs& args) {
  const uint32_t offset = static_cast<uint32_t>(args.zero_offset);
  WithBits(args.bits, [&](auto bits) {
    constexpr int kCodes = UnitCodes(bits);
    constexpr int kWords = UnitWords(bits);
    constexpr uint32_t kMask = (1u << bits) - 1;
    const int64_t units = args.qzeros.shape[1] / kWords;
    ForEachTile(context, args.qzeros.shape[0], units, [&](const Tile& tile) {
      for (int64_t g = tile.row_begin; g < tile.row_end; ++g) {
        const int32_t* words = args.qzeros.Row<const int32_t>(g);
        for (int64_t u = tile.column_begin; u < tile.column_end; ++u) {
          UnpackUnit<bits>(words + u * kWords, 1, [&](int j, uint32_t stored) {
            const uint32_t zero = (stored + offset) & kMask;
            args.zeros.Row<int32_t>(u * kCodes + j)[g] = static_cast<int32_t>(zero);
          });
        }
      }
    });
  });
}

void Transpose(const Context& context, const TransposeArgs& args) {
  switch (args.x.dtype) {
    case DType::kF16:
      return TransposeFrom<F16>(context, args);
    case DType::kBF16:
      return TransposeFrom<BF16>(context, args);
    default:
      return TransposeFrom<float>(context, args);
  }
}

void Dequantize(const Context& context, const DequantizeArgs& args) {
  const GptqWeight weight = GptqWeightOf(args);
  const std::vector<int32_t> groups = GroupOfInputs("dequantize", weight, args.y.shape[1]);
  const int unit = UnitCodes(weight.bits);
  const int64_t stride = weight.qweight.stride[0];
  ForEachTile(context, args.y.shape[1] / unit, weight.qweight.shape[1], [&](const Tile& tile) {
    float scales[kTile];
    int32_t zeros[kTile];
    int32_t loaded = -1;
    for (int64_t i = tile.row_begin * unit; i < tile.row_end * unit; ++i) {
      const int32_t group = groups[i];
      const int64_t first = tile.column_begin;
      const int64_t count = tile.column_end - first;
      if (group != loaded) {
        Widen(weight.scales, group * weight.scales.stride[0] + first, count, scales);
        for (int64_t c = 0; c < count; ++c) zeros[c] = weight.Zero(group, first + c);
        loaded = group;
      }
      const int32_t* words = weight.qweight.As<const int32_t>() + first;
      for (int64_t c = 0; c < count; ++c) {
        const int32_t code = static_cast<int32_t>(CodeAt(words + c, stride, weight.bits, i));
        args.y.Row<float>(first + c)[i] = Dequantized(scales[c], code, zeros[c]);
      }
    }
  });
}

}  // namespace kernels

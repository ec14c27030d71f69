#include <algorithm>

#include "core/widen.h"
#include "ops/packing/gptq_weight.h"
#include "ops/packing/packing.h"

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
  const int per_word = 32 / args.bits;
  const uint32_t mask = (1u << args.bits) - 1;
  ForEachTile(context, args.qweight.shape[0], args.qweight.shape[1], [&](const Tile& tile) {
    for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
      int32_t* words = args.qweight.Row<int32_t>(r);
      for (int64_t o = tile.column_begin; o < tile.column_end; ++o) {
        const uint8_t* codes = args.codes.Row<const uint8_t>(o) + r * per_word;
        uint32_t word = 0;
        for (int j = 0; j < per_word; ++j) word |= (codes[j] & mask) << (j * args.bits);
        words[o] = static_cast<int32_t>(word);
      }
    }
  });
}

void UnpackWeight(const Context& context, const UnpackWeightArgs& args) {
  const int per_word = 32 / args.bits;
  const uint32_t mask = (1u << args.bits) - 1;
  ForEachTile(context, args.qweight.shape[0], args.qweight.shape[1], [&](const Tile& tile) {
    for (int64_t r = tile.row_begin; r < tile.row_end; ++r) {
      const int32_t* words = args.qweight.Row<const int32_t>(r);
      for (int64_t o = tile.column_begin; o < tile.column_end; ++o) {
        uint8_t* codes = args.codes.Row<uint8_t>(o) + r * per_word;
        const uint32_t word = static_cast<uint32_t>(words[o]);
        for (int j = 0; j < per_word; ++j) codes[j] = (word >> (j * args.bits)) & mask;
      }
    }
  });
}

void PackZeros(const Context& context, const PackZerosArgs& args) {
  const int per_word = 32 / args.bits;
  const uint32_t mask = (1u << args.bits) - 1;
  const uint32_t offset = static_cast<uint32_t>(args.zero_offset);
  ForEachTile(context, args.qzeros.shape[0], args.qzeros.shape[1], [&](const Tile& tile) {
    for (int64_t g = tile.row_begin; g < tile.row_end; ++g) {
      for (int64_t w = tile.column_begin; w < tile.column_end; ++w) {
        uint32_t word = 0;
        for (int j = 0; j < per_word; ++j) {
          const int32_t zero = args.zeros.Row<const int32_t>(w * per_word + j)[g];
          word |= ((static_cast<uint32_t>(zero) - offset) & mask) << (j * args.bits);
        }
        args.qzeros.Row<int32_t>(g)[w] = static_cast<int32_t>(word);
      }
    }
  });
}

void UnpackZeros(const Context& context, const UnpackZerosArgs& args) {
  const int per_word = 32 / args.bits;
  const uint32_t mask = (1u << args.bits) - 1;
  const uint32_t offset = static_cast<uint32_t>(args.zero_offset);
  ForEachTile(context, args.qzeros.shape[0], args.qzeros.shape[1], [&](const Tile& tile) {
    for (int64_t g = tile.row_begin; g < tile.row_end; ++g) {
      for (int64_t w = tile.column_begin; w < tile.column_end; ++w) {
        const uint32_t word = static_cast<uint32_t>(args.qzeros.Row<const int32_t>(g)[w]);
        for (int j = 0; j < per_word; ++j) {
          const uint32_t zero = ((word >> (j * args.bits)) + offset) & mask;
          args.zeros.Row<int32_t>(w * per_word + j)[g] = static_cast<int32_t>(zero);
        }
      }
    }
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
  const int per_word = weight.CodesPerWord();
  ForEachTile(context, weight.qweight.shape[0], weight.qweight.shape[1], [&](const Tile& tile) {
    float scales[kTile];
    int32_t zeros[kTile];
    int32_t loaded = -1;
    for (int64_t i = tile.row_begin * per_word; i < tile.row_end * per_word; ++i) {
      const int32_t group = groups[i];
      const int64_t first = tile.column_begin;
      const int64_t count = tile.column_end - first;
      if (group != loaded) {
        Widen(weight.scales, group * weight.scales.stride[0] + first, count, scales);
        for (int64_t c = 0; c < count; ++c) zeros[c] = weight.Zero(group, first + c);
        loaded = group;
      }
      const uint32_t* words = weight.qweight.Row<const uint32_t>(i / per_word) + first;
      const int shift = static_cast<int>(i % per_word) * weight.bits;
      for (int64_t c = 0; c < count; ++c) {
        const int32_t code = static_cast<int32_t>((words[c] >> shift) & weight.MaxCode());
        args.y.Row<float>(first + c)[i] = Dequantized(scales[c], code, zeros[c]);
      }
    }
  });
}

}  // namespace kernels

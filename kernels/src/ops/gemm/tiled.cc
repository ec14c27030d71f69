#include "ops/gemm/tiled.h"

#include <algorithm>
#include <cstring>

namespace kernels {

namespace {

// k per block. Part of the definition of the result: a block's sum is added to c once.
constexpr int64_t kDepth = 256;

// Largest tile of c. Packed to kDepth, its operands (at most 0.2 and 0.5 MB) stay in a second-level
// cache of 1 MB; each packed element of b then serves this many rows, of a this many columns.
constexpr int64_t kTileRows = 192;
constexpr int64_t kTileColumns = 512;

// Tiles per thread wanted, so that no thread waits long for the last one.
constexpr int64_t kTilesPerThread = 4;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct Tiling {
  int64_t rows, columns;  // of one tile
  int64_t row_tiles, column_tiles;
};

// The tile shape changes who computes an element, never how.
Tiling ChooseTiling(const GemmArgs& args, const MicroKernel& kernel, int threads) {
  Tiling tiling{kTileRows, kTileColumns, 0, 0};
  const int64_t wanted = threads == 1 ? 1 : threads * kTilesPerThread;
  while (true) {
    tiling.row_tiles = (args.m + tiling.rows - 1) / tiling.rows;
    tiling.column_tiles = (args.n + tiling.columns - 1) / tiling.columns;
    const bool enough = tiling.row_tiles * tiling.column_tiles >= wanted;
    if (enough || tiling.rows <= kTileRows / 4) break;
    tiling.rows /= 2;
    tiling.columns /= 2;
  }
  tiling.rows = RoundUp(tiling.rows, kernel.rows);
  tiling.columns = RoundUp(tiling.columns, kernel.columns);
  tiling.row_tiles = (args.m + tiling.rows - 1) / tiling.rows;
  tiling.column_tiles = (args.n + tiling.columns - 1) / tiling.columns;
  return tiling;
}

// Rows [row, row + count) of a, k in [first, first + depth): panels of `width` rows, k-major.
void PackA(const GemmArgs& args, int64_t row, int64_t count, int64_t first, int64_t depth,
           int width, float* packed) {
  for (int64_t panel = 0; panel < count; panel += width, packed += depth * width) {
    const int64_t rows = std::min<int64_t>(width, count - panel);
    const float* a = args.a + (row + panel) * args.a_row + first * args.a_column;
    if (args.a_row == 1) {
      for (int64_t p = 0; p < depth; ++p) {
        std::memcpy(packed + p * width, a + p * args.a_column, rows * sizeof(float));
        for (int64_t i = rows; i < width; ++i) packed[p * width + i] = 0.0f;
      }
      continue;
    }
    for (int64_t i = 0; i < width; ++i) {
      for (int64_t p = 0; p < depth; ++p) {
        packed[p * width + i] = i < rows ? a[i * args.a_row + p * args.a_column] : 0.0f;
      }
    }
  }
}

// Columns [column, column + count) of b: panels of `width` columns, k-major.
void PackB(const GemmArgs& args, int64_t column, int64_t count, int64_t first, int64_t depth,
           int width, float* packed) {
  for (int64_t panel = 0; panel < count; panel += width) {
    const int64_t columns = std::min<int64_t>(width, count - panel);
    const float* b = args.b + first * args.b_row + column + panel;
    for (int64_t p = 0; p < depth; ++p, packed += width) {
      std::memcpy(packed, b + p * args.b_row, columns * sizeof(float));
      for (int64_t j = columns; j < width; ++j) packed[j] = 0.0f;
    }
  }
}

struct Tile {
  int64_t row, rows, column, columns;
};

void MultiplyPacked(const GemmArgs& args, const MicroKernel& kernel, const Tile& tile,
                    int64_t depth, const float* a, const float* b) {
  for (int64_t j = 0; j < tile.columns; j += kernel.columns) {
    const int columns = static_cast<int>(std::min<int64_t>(kernel.columns, tile.columns - j));
    for (int64_t i = 0; i < tile.rows; i += kernel.rows) {
      const bool below = tile.column + j + columns <= tile.row + i;
      if (args.upper_only && below) break;
      const int rows = static_cast<int>(std::min<int64_t>(kernel.rows, tile.rows - i));
      float* c = args.c + (tile.row + i) * args.c_row + tile.column + j;
      kernel.run(depth, a + i * depth, b + j * depth, c, args.c_row, args.alpha, rows, columns);
    }
  }
}

}  // namespace

void GemmTiled(const Context& context, const GemmArgs& args, const MicroKernel& kernel) {
  const Tiling tiling = ChooseTiling(args, kernel, context.pool.threads());
  const int64_t depth = std::min(args.k, kDepth);
  const size_t a_floats = RoundUp(tiling.rows * depth, 16);
  const size_t bytes = (a_floats + tiling.columns * depth) * sizeof(float);
  const int64_t tiles = tiling.row_tiles * tiling.column_tiles;
  context.pool.ParallelFor(tiles, [&](int64_t index, int worker) {
    const int64_t row = index / tiling.column_tiles * tiling.rows;
    const int64_t column = index % tiling.column_tiles * tiling.columns;
    const Tile tile = {row, std::min(tiling.rows, args.m - row), column,
                       std::min(tiling.columns, args.n - column)};
    if (args.upper_only && tile.column + tile.columns <= tile.row) return;
    auto* a = reinterpret_cast<float*>(context.pool.Scratch(worker, bytes));
    float* b = a + a_floats;
    for (int64_t p = 0; p < args.k; p += kDepth) {
      const int64_t block = std::min(kDepth, args.k - p);
      PackA(args, tile.row, tile.rows, p, block, kernel.rows, a);
      PackB(args, tile.column, tile.columns, p, block, kernel.columns, b);
      MultiplyPacked(args, kernel, tile, block, a, b);
    }
  });
}

}  // namespace kernels

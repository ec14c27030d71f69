#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda/exp.h"
#include "cuda/numbers.h"
#include "cuda/rows.h"
#include "ops/attention/attention.h"
#include "ops/cache_quantization/grid.h"

// What the kernels of attention share. The arithmetic of one query is the same in all of them, so
// that its result does not depend on which of them ran:
//
//  - Scores and weighted sums of values are products of tensor cores (cuda_warp.h), which take the
//    same parts of the same numbers in the same order.
//  - Tiles of kTile positions, counted from position 0 wherever pages begin, each have weights
//    relative to their own largest score, and sums of their own.
//  - Tiles are put together in their order (Running), be it by the block that computed them or by
//    another kernel.
namespace kernels::cuda {

constexpr int kTile = 64;

template <class T>
constexpr bool kIsCoded = std::is_same_v<T, uint8_t>;

// Step state and where it leads: rows of the block table and the cache's pages.
struct Steps {
  const int32_t* positions;
  const int32_t* row_sequence;
  Matrix<const int32_t> block_table;
  int64_t sequences;
  int64_t max_blocks;
  int64_t blocks;
  int64_t kv_heads;
  int64_t block_size;
  FaultSink position_faults, sequence_faults, block_faults;

  // How many positions a row sees: none, and a report, where its state is wrong.
  __device__ int64_t Visible(int64_t row, bool reports) const {
    const int64_t sequence = row_sequence[row];
    const int64_t position = positions[row];
    const bool is_sequence = sequence >= 0 && sequence < sequences;
    const bool is_position = position >= 0 && position < max_blocks * block_size;
    if (reports && !is_sequence) sequence_faults.Report(row, sequence, 0, sequences);
    if (reports && !is_position) position_faults.Report(row, position, 0, max_blocks * block_size);
    return is_sequence && is_position ? position + 1 : 0;
  }

  // Where (position, head) is among the rows of dim elements: -1, and a report, where the block is
  // none of the cache's.
  __device__ int64_t Find(int64_t sequence, int64_t position, int64_t head) const {
    // Positions have 31 bits, so 32 are enough to divide them.
    const auto size = static_cast<uint32_t>(block_size < (1 << 30) ? block_size : 1u << 31);
    const uint32_t page = static_cast<uint32_t>(position) / size;
    const uint32_t slot = static_cast<uint32_t>(position) % size;
    const int64_t block = block_table.Row(sequence)[page];
    if (block < 0 || block >= blocks) {
      block_faults.Report(sequence * max_blocks + page, block, 0, blocks);
      return -1;
    }
    return (block * kv_heads + head) * block_size + slot;
  }
};

struct StepTexts {
  int32_t positions, row_sequence, block_table;
};

// Args: StoreCacheArgs, RopeStoreCacheArgs or AttentionArgs.
template <class Args>
Steps StepsOf(const Args& args, FaultRecord* faults, const StepTexts& texts) {
  const Tensor& cache = args.k_cache;
  Steps steps{};
  steps.positions = args.positions.template As<const int32_t>();
  steps.row_sequence = args.row_sequence.template As<const int32_t>();
  steps.block_table = MatrixOf<const int32_t>(args.block_table);
  steps.sequences = args.block_table.shape[0];
  steps.max_blocks = args.block_table.shape[1];
  steps.blocks = cache.shape[0];
  steps.kv_heads = cache.shape[1];
  steps.block_size = cache.shape[2];
  steps.position_faults = {faults, texts.positions};
  steps.sequence_faults = {faults, texts.row_sequence};
  steps.block_faults = {faults, texts.block_table};
  return steps;
}

// T: float, F16, BF16, or uint8_t with grids.
template <class T>
struct AttentionView {
  Matrix<const float> q;
  const T* k;
  const T* v;
  const CacheGrid* k_grids;
  const CacheGrid* v_grids;
  Steps steps;
  const float* query_scale;
  Matrix<float> y;
  int64_t rows;
  int dim;
  int group;  // query heads of a key head
};

// Whether the rows of keys and values are whole pieces of 16 bytes, at addresses of such.
template <class T>
bool HasAlignedRows(const AttentionView<T>& view) {
  const auto address = reinterpret_cast<uintptr_t>(view.k) | reinterpret_cast<uintptr_t>(view.v);
  return (address | view.dim * sizeof(T)) % 16 == 0;
}
// Elements of a piece.
template <class T>
constexpr int kPiece = 16 / static_cast<int>(sizeof(T));

// Of `visible` positions how many are in the tile that begins at `start`.
__device__ inline int SeenOf(int64_t visible, int64_t start) {
  const int64_t left = visible - start;
  return static_cast<int>(left < 0 ? 0 : left < kTile ? left : kTile);
}

// What one tile is for one query.
struct TileSums {
  float largest;  // score
  float total;    // of the weights
  float offset;   // of codes: the weighted sum of the values' offsets
};

// The grids of a tile's rows, in shared memory; of codes only.
struct TileGrids {
  float k_scale[kTile], k_offset[kTile], v_scale[kTile], v_offset[kTile];
};

template <class T>
__device__ void LoadGrids(const AttentionView<T>& view, int64_t at, int j, TileGrids& grids) {
  if constexpr (kIsCoded<T>) {
    const bool is_there = at >= 0;
    grids.k_scale[j] = is_there ? Widen(view.k_grids[at].scale) : 0.0f;
    grids.k_offset[j] = is_there ? Widen(view.k_grids[at].offset) : 0.0f;
    grids.v_scale[j] = is_there ? Widen(view.v_grids[at].scale) : 0.0f;
    grids.v_offset[j] = is_there ? Widen(view.v_grids[at].offset) : 0.0f;
  }
}

// Tiles put together. Sums so far are to be multiplied by `keep`, those of the tile by `add`.
struct Running {
  float largest, total, keep, add;

  __device__ void Start() {
    largest = -INFINITY;
    total = 0;
  }
  __device__ void Add(float tile_largest, float tile_total) {
    const float before = largest;
    largest = tile_largest > before ? tile_largest : before;
    const float shift = largest == -INFINITY ? 0.0f : largest;
    keep = Exp(before - shift);
    add = Exp(tile_largest - shift);
    total = __fmaf_rn(total, keep, tile_total * add);
  }
};

__device__ inline float PutTogether(float sum, float keep, float part, float add) {
  return __fmaf_rn(sum, keep, part * add);
}

// The sum of a query's elements, in every lane of the warp that asks.
__device__ inline float QuerySum(const float* q, int dim) {
  float sum = 0;
  for (int d = threadIdx.x % kWarpSize; d < dim; d += kWarpSize) sum += q[d];
  return WarpSum(sum);
}

// Runs of rows of one sequence that are long enough go to the kernel that shares the loads of keys
// and values among queries; they are looked for in groups of rows that begin at multiples of
// `rows_of_tile`. Every other row has blocks of its own.
constexpr int kTileQueries = 64;
constexpr int kLeastTileQueries = 24;
constexpr int kMostTileDim = 128;

template <class T>
__host__ __device__ constexpr int RowsOfTile(const AttentionView<T>& view) {
  return kTileQueries / view.group;
}

__host__ __device__ constexpr bool IsTiledRun(int run, int group) {
  return run >= 2 && run * group >= kLeastTileQueries;
}

// The kernels, enqueued.
template <class T>
bool HasTiles(const AttentionView<T>& view) {
  const int64_t most = std::min<int64_t>(view.rows, kTileQueries / view.group);
  return view.dim <= kMostTileDim && IsTiledRun(static_cast<int>(most), view.group);
}
template <class T>
void AttendTiles(Session& session, const AttentionView<T>& view);
template <class T>
void AttendRows(Session& session, const AttentionView<T>& view);

}  // namespace kernels::cuda

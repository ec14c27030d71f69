#include "cuda/async_copy.h"
#include "ops/attention/cuda_warp.h"

// Rows on their own, as decoding has them: a block is one warp, which has up to kWarpQueries query
// heads of one key head and reads each key and value once. Where there are few of them, the tiles
// of a row are split among blocks, and another kernel puts them together.
namespace kernels::cuda {

namespace {

// How rows are divided among blocks, and where tiles wait to be put together.
struct Division {
  int64_t rows_of_block;
  int64_t parts;   // blocks for the query heads of one key head
  int64_t splits;  // blocks for the tiles of one row
  int64_t tiles;   // the most that a row can have
  float* values;   // [rows, heads, tiles, dim], or null where rows are not split
  float2* sums;    // [rows, heads, tiles]: largest and total
  bool has_tiled_rows;
  bool is_aligned;  // keys and values, for copies of 16 bytes
};

// Bytes of a key or value in shared memory, as it is stored. Threads read eight rows at a time:
// with 16 bytes between rows they are in different banks.
template <class T>
__host__ __device__ constexpr int RowBytes(int dim) {
  return PaddedDim(dim) * static_cast<int>(sizeof(T)) + 16;
}

template <class T>
struct SharedRows {
  uint32_t* q;   // [kQueryParts, rows, RowWords(dim)]
  float* total;  // [rows, PaddedDim(dim)]
  unsigned char* k;
  unsigned char* v;

  __device__ SharedRows(uint32_t* memory, int rows, int dim) {
    q = memory;
    total = reinterpret_cast<float*>(q + kQueryParts * rows * RowWords(dim));
    k = reinterpret_cast<unsigned char*>(total + rows * PaddedDim(dim));
    v = k + kTile * RowBytes<T>(dim);
  }
  static size_t Bytes(int rows, int dim) {
    return size_t{4} * rows * (kQueryParts * RowWords(dim) + PaddedDim(dim)) +
           size_t{2} * kTile * RowBytes<T>(dim);
  }
};

// Rows of queries in shared memory: the upper half of a product may be left out.
__host__ __device__ constexpr int QueryRows(int group) {
  return group <= kWarpQueries / 2 ? kWarpQueries / 2 : kWarpQueries;
}

// Whether a row belongs to a run that AttendTiles has; by a warp.
template <class T>
__device__ bool IsTiled(const AttentionView<T>& view, int64_t row) {
  const int rows_of_tile = RowsOfTile(view);
  const int64_t first = row - row % rows_of_tile;
  const int32_t mine = view.steps.row_sequence[row];
  uint64_t same = 0;
  for (int i = 0; i < kTileQueries; i += kWarpSize) {
    const int64_t at = i + threadIdx.x % kWarpSize;
    const bool is_same =
        at < rows_of_tile && first + at < view.rows && view.steps.row_sequence[first + at] == mine;
    same |= uint64_t{__ballot_sync(kAllLanes, is_same)} << i;
  }
  const int place = static_cast<int>(row - first);
  int run = 1;
  for (int i = place + 1; i < kTileQueries && (same >> i & 1) != 0; ++i) ++run;
  for (int i = place - 1; i >= 0 && (same >> i & 1) != 0; --i) ++run;
  return IsTiledRun(run, view.group);
}

// Starts to copy the first n rows of a tile; the others are zero.
template <class T>
__device__ void StartTile(const T* cache, const int64_t* at, int n, int dim, bool is_aligned,
                          unsigned char* tile) {
  const int pieces = PaddedDim(dim) / kPiece<T>;
  for (int i = threadIdx.x; i < kTile * pieces; i += kWarpSize) {
    const int j = i / pieces;
    const int d = i % pieces * kPiece<T>;
    T* to = reinterpret_cast<T*>(tile + j * RowBytes<T>(dim)) + d;
    const int64_t row = j < n ? at[j] : -1;
    if (row >= 0 && d < dim && is_aligned) {
      CopyAsync16(to, cache + row * dim + d);
      continue;
    }
    Pack<T, kPiece<T>> piece{};
    for (int e = 0; row >= 0 && e < kPiece<T> && d + e < dim; ++e)
      piece.at[e] = cache[row * dim + d + e];
    StorePack(to, piece);
  }
}

// Where the block is: heads [first_head, first_head + heads) of a row, every `splits`th tile from
// `split` on.
struct Work {
  int64_t row;
  int64_t kv_head;
  int64_t first_head;
  int heads;
  int64_t split;
  int64_t visible;
};

// Rows of the cache of two tiles: this one and the next.
struct Block {
  int64_t at[2][kTile];
  TileGrids grids[2];
};

template <class T>
__device__ __forceinline__ void ScoreTile(const AttentionView<T>& view, const Work& work,
                                          const SharedRows<T>& shared, const int64_t* at,
                                          float (&score)[kColumns][4]) {
  const int dim = view.dim;
  const int g = PlaceOfLane().g;
  uint64_t odd = 0;
  Score<T>(
      {shared.q, QueryRows(view.group)}, 0, dim,
      [&](int column, int word, uint32_t* parts) {
        const int j = 8 * column + g;
        const T* key = reinterpret_cast<const T*>(shared.k + j * RowBytes<T>(dim));
        const auto pair = LoadPack<T, 2>(key + 2 * word);
        if (SplitFinite(pair.at[0], pair.at[1], parts)) odd |= uint64_t{1} << j;
      },
      score);
  if (kIsCoded<T> || !__any_sync(kAllLanes, odd != 0)) return;
  const float* q = view.q.Row(work.row) + work.first_head * dim;
  ScoreOdd(
      WarpUnion(odd), dim, [&](int e) { return e < work.heads ? q + e * dim : nullptr; },
      [&](int j) { return at[j] < 0 ? nullptr : view.k + at[j] * dim; }, score);
}

// Calls take(half, d, part) with the weighted sum of the tile's values for query g + 8 half and
// each element d that this lane has.
template <class T, class Take>
__device__ __forceinline__ void SumTile(const AttentionView<T>& view, const SharedRows<T>& shared,
                                        const int64_t* at, const WeightWords& weights, int seen,
                                        const float (&offset)[2], const Take& take) {
  const int dim = view.dim;
  const auto [g, t] = PlaceOfLane();
  for (int group = 0; group < PaddedDim(dim) / 8; group += kElementGroups) {
    uint64_t odd = 0;
    float sum[kElementGroups][4];
#pragma unroll
    for (int n = 0; n < kElementGroups; ++n) {
      for (int i = 0; i < 4; ++i) sum[n][i] = kIsCoded<T> ? offset[i / 2] : 0.0f;
    }
    SumValues<T>(
        weights, group,
        [&](int eight, int word, uint32_t* parts) {
          const int d = 8 * eight + g;
          const auto value = [&](int j) {
            return reinterpret_cast<const T*>(shared.v + j * RowBytes<T>(dim))[d];
          };
          if (SplitFinite(value(2 * word), value(2 * word + 1), parts))
            odd |= uint64_t{3} << 2 * word;
        },
        sum);
    if (!kIsCoded<T> && __any_sync(kAllLanes, odd != 0)) {
      const int both[2] = {seen, seen};
      SumOddValues(
          WarpUnion(odd), weights, group, both, dim,
          [&](int j) { return at[j] < 0 ? nullptr : view.v + at[j] * dim; }, sum);
    }
#pragma unroll
    for (int n = 0; n < kElementGroups; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int d = 8 * (group + n) + 2 * t + i % 2;
        if (d < dim) take(i / 2, d, sum[n][i]);
      }
    }
  }
}

// Weights of all queries, and the sums so far with this tile. `write` gets what the tile is.
template <class T, class Write>
__device__ __forceinline__ void WeighTile(float (&score)[kColumns][4], int seen, float scale,
                                          const float (&query_sum)[2], const TileGrids& grids,
                                          bool has_upper, Running (&running)[2], float (&offset)[2],
                                          const Write& write) {
  const TileSums lower = Weigh<T, 0>(score, seen, scale, query_sum[0], grids);
  running[0].Add(lower.largest, lower.total);
  offset[0] = lower.offset;
  write(0, lower);
  if (!has_upper) return;  // its weights are zero as its scores are
  const TileSums upper = Weigh<T, 1>(score, seen, scale, query_sum[1], grids);
  running[1].Add(upper.largest, upper.total);
  offset[1] = upper.offset;
  write(1, upper);
}

template <class T>
__device__ void LoadQueries(const AttentionView<T>& view, const Work& work,
                            const SharedRows<T>& shared, float (&query_sum)[2]) {
  const int rows = QueryRows(view.group);
  const int g = PlaceOfLane().g;
  const float* q = view.q.Row(work.row) + work.first_head * view.dim;
  for (int e = 0; e < rows; ++e) {
    const float* from = e < work.heads ? q + e * view.dim : nullptr;
    StoreQuery(from, view.dim, shared.q, rows, e);
    if constexpr (kIsCoded<T>) {
      const float sum = from == nullptr ? 0.0f : QuerySum(from, view.dim);
      if (e == g) query_sum[0] = sum;
      if (e == g + 8) query_sum[1] = sum;
    }
  }
  for (int i = threadIdx.x; i < rows * PaddedDim(view.dim); i += kWarpSize) shared.total[i] = 0;
}

// The tiles of a row on their way to shared memory.
template <class T>
struct TileReader {
  const AttentionView<T>& view;
  const Work& work;
  Block& block;
  bool is_aligned;

  __device__ int RowsIn(int64_t tile) const { return SeenOf(work.visible, tile * kTile); }
  __device__ void Find(int64_t tile, int slot) const {
    const int64_t sequence = view.steps.row_sequence[work.row];
    for (int j = threadIdx.x; j < RowsIn(tile); j += kWarpSize) {
      const int64_t at = view.steps.Find(sequence, tile * kTile + j, work.kv_head);
      block.at[slot][j] = at;
      LoadGrids(view, at, j, block.grids[slot]);
    }
  }
  // A group of copies, which is empty past the last tile.
  __device__ void Start(const T* cache, int64_t tile, int slot, unsigned char* to) const {
    const int rows = RowsIn(tile);
    if (rows > 0) StartTile(cache, block.at[slot], rows, view.dim, is_aligned, to);
    CommitCopies();
  }
};

// Where sums go: to memory for PutTogetherKernel, or to those so far and after the last tile to y.
template <class T>
struct ResultWriter {
  const AttentionView<T>& view;
  const Division& division;
  const Work& work;
  float* total;

  __device__ bool IsThere(int half) const { return PlaceOfLane().g + 8 * half < work.heads; }
  // Among all tiles of all rows and heads.
  __device__ int64_t Place(int half, int64_t tile) const {
    const int64_t head = work.first_head + PlaceOfLane().g + 8 * half;
    return (work.row * view.steps.kv_heads * view.group + head) * division.tiles + tile;
  }
  __device__ void Take(int half, int64_t tile, const TileSums& sums) const {
    if (division.sums != nullptr && PlaceOfLane().t == 0 && IsThere(half))
      division.sums[Place(half, tile)] = {sums.largest, sums.total};
  }
  __device__ void Take(int half, int64_t tile, int d, float part, const Running& running,
                       bool is_last) const {
    if (!IsThere(half)) return;
    if (division.values != nullptr) {
      division.values[Place(half, tile) * view.dim + d] = part;
      return;
    }
    const int e = PlaceOfLane().g + 8 * half;
    float& sum = total[e * PaddedDim(view.dim) + d];
    sum = PutTogether(sum, running.keep, part, running.add);
    if (is_last) view.y.Row(work.row)[(work.first_head + e) * view.dim + d] = sum / running.total;
  }
};

template <class T>
__device__ void AttendRow(const AttentionView<T>& view, const Division& division, const Work& work,
                          uint32_t* memory, Block& block) {
  const int64_t tiles = CeilDivide(work.visible, kTile);
  const float scale = view.query_scale[work.row];
  const int rows = QueryRows(view.group);
  const SharedRows<T> shared(memory, rows, view.dim);
  const TileReader<T> reader{view, work, block, division.is_aligned};
  const ResultWriter<T> writer{view, division, work, shared.total};
  float query_sum[2] = {};
  Running running[2];
  running[0].Start();
  running[1].Start();
  reader.Find(work.split, 0);
  LoadQueries(view, work, shared, query_sum);
  __syncwarp();
  reader.Start(view.k, work.split, 0, shared.k);
  reader.Start(view.v, work.split, 0, shared.v);
  int slot = 0;
  for (int64_t tile = work.split; tile < tiles; tile += division.splits, slot ^= 1) {
    const int64_t next = tile + division.splits;
    const int seen = reader.RowsIn(tile);
    WaitCopies<1>();
    reader.Find(next, slot ^ 1);
    __syncwarp();
    float score[kColumns][4];
    ScoreTile(view, work, shared, block.at[slot], score);
    __syncwarp();  // unseen: products hold the lanes together
    reader.Start(view.k, next, slot ^ 1, shared.k);
    float offset[2] = {};
    WeighTile<T>(score, seen, scale, query_sum, block.grids[slot], rows == kWarpQueries, running,
                 offset, [&](int half, const TileSums& sums) { writer.Take(half, tile, sums); });
    WeightWords weights;
    SplitWeights(score, weights);
    WaitCopies<1>();
    __syncwarp();
    SumTile(view, shared, block.at[slot], weights, seen, offset, [&](int half, int d, float part) {
      writer.Take(half, tile, d, part, running[half], next >= tiles);
    });
    __syncwarp();  // unseen: products hold the lanes together
    reader.Start(view.v, next, slot ^ 1, shared.v);
  }
}

template <class T>
__global__ void __launch_bounds__(kWarpSize, 8)  // lest ptxas spill for the sake of more
    AttendRowsKernel(AttentionView<T> view, Division division) {
  DYNAMIC_SHARED(uint32_t, memory);
  SHARED(Block, block);
  const int64_t part = blockIdx.x % division.parts;
  const int64_t kv_head = blockIdx.x / division.parts % view.steps.kv_heads;
  const int64_t first = blockIdx.x / (division.parts * view.steps.kv_heads);
  const int left = view.group - static_cast<int>(part) * kWarpQueries;
  for (int64_t i = 0; i < division.rows_of_block; ++i) {
    const int64_t row = first * division.rows_of_block + i;
    if (row >= view.rows) return;
    if (division.has_tiled_rows && IsTiled(view, row)) continue;
    const int64_t visible = view.steps.Visible(row, threadIdx.x == 0);
    if (int64_t{blockIdx.y} * kTile >= visible) continue;
    const Work work = {row,
                       kv_head,
                       kv_head * view.group + part * kWarpQueries,
                       left < kWarpQueries ? left : kWarpQueries,
                       blockIdx.y,
                       visible};
    AttendRow(view, division, work, memory, block);
    __syncwarp();  // unseen: products hold the lanes together
  }
}

constexpr int kPutTogetherThreads = 128;

// y of rows whose tiles lie in memory: a block for each row and head.
template <class T>
__global__ void PutTogetherKernel(AttentionView<T> view, Division division) {
  using Factors = float2[kWarpSize];
  SHARED(Factors, factors);
  const int64_t heads = view.steps.kv_heads * view.group;
  const int64_t row = blockIdx.x / heads;
  const int64_t head = blockIdx.x % heads;
  if (division.has_tiled_rows && IsTiled(view, row)) return;
  const int64_t tiles = CeilDivide(view.steps.Visible(row, false), kTile);
  const float2* sums = division.sums + blockIdx.x * division.tiles;
  const float* values = division.values + blockIdx.x * division.tiles * view.dim;
  const int lane = threadIdx.x % kWarpSize;
  for (int first = 0; first < view.dim; first += kPutTogetherThreads) {
    const int d = first + static_cast<int>(threadIdx.x);
    Running running;
    running.Start();
    float total = 0;
    for (int64_t begin = 0; begin < tiles; begin += kWarpSize) {
      const int count = static_cast<int>(tiles - begin < kWarpSize ? tiles - begin : kWarpSize);
      const float2 mine = lane < count ? sums[begin + lane] : float2{-INFINITY, 0};
      // Every warp goes through the chain; a lane keeps its own tile's factors.
      for (int i = 0; i < count; ++i) {
        running.Add(__shfl_sync(kAllLanes, mine.x, i), __shfl_sync(kAllLanes, mine.y, i));
        if (threadIdx.x == 0) factors[i] = {running.keep, running.add};
      }
      __syncthreads();
      for (int i = 0; i < count && d < view.dim; ++i) {
        total = PutTogether(total, factors[i].x, values[(begin + i) * view.dim + d], factors[i].y);
      }
      __syncthreads();
    }
    if (d < view.dim && tiles > 0) view.y.Row(row)[head * view.dim + d] = total / running.total;
  }
}

constexpr int64_t kMostSplitBytes = 256 << 20;

// Enough blocks to fill the GPU, as far as scratch memory allows.
template <class T>
Division Divide(Session& session, const AttentionView<T>& view) {
  Division division{};
  division.has_tiled_rows = HasTiles(view);
  division.parts = CeilDivide(view.group, kWarpQueries);
  division.rows_of_block = view.rows <= 1024 ? 1 : 4;
  division.splits = 1;
  division.is_aligned = HasAlignedRows(view);
  const Steps& steps = view.steps;
  division.tiles = CeilDivide(steps.max_blocks * steps.block_size, kTile);
  const int64_t heads = view.rows * steps.kv_heads * view.group;
  const int64_t blocks = view.rows * steps.kv_heads * division.parts;
  const int64_t enough = int64_t{session.multiprocessors()} * 4;
  const int64_t count = heads * division.tiles * (view.dim + 2);
  if (blocks >= enough || division.tiles < 2 ||
      count > kMostSplitBytes / static_cast<int64_t>(sizeof(float))) {
    return division;
  }
  division.splits = std::min({CeilDivide(2 * enough, blocks), division.tiles, int64_t{65535}});
  auto* scratch = session.Scratch<float>(count);
  division.sums = reinterpret_cast<float2*>(scratch);
  division.values = scratch + heads * division.tiles * 2;
  return division;
}

}  // namespace

template <class T>
void AttendRows(Session& session, const AttentionView<T>& view) {
  const Division division = Divide(session, view);
  const int64_t groups = CeilDivide(view.rows, division.rows_of_block);
  Launch(session, AttendRowsKernel<T>,
         {.blocks_x = BlockCount(groups * view.steps.kv_heads * division.parts),
          .blocks_y = static_cast<unsigned>(division.splits),
          .threads = kWarpSize,
          .shared_bytes = SharedRows<T>::Bytes(QueryRows(view.group), view.dim)},
         view, division);
  if (division.values == nullptr) return;
  Launch(session, PutTogetherKernel<T>,
         {.blocks_x = BlockCount(view.rows * view.steps.kv_heads * view.group),
          .threads = kPutTogetherThreads},
         view, division);
}

template void AttendRows(Session& session, const AttentionView<float>& view);
template void AttendRows(Session& session, const AttentionView<F16>& view);
template void AttendRows(Session& session, const AttentionView<BF16>& view);
template void AttendRows(Session& session, const AttentionView<uint8_t>& view);

}  // namespace kernels::cuda

#include "cuda/async_copy.h"
#include "ops/attention/cuda_view.h"

// Rows on their own, as decoding has them: a block has up to kHeads query heads of one key head
// and reads each key and value once. Where there are few of them, the tiles of a row are split
// among blocks, and another kernel puts them together.
namespace kernels::cuda {

namespace {

// A block's threads: a group of kTile for each half of the heads.
template <int kHeads>
constexpr int kThreads = kHeads == 1 ? kTile : 2 * kTile;
template <int kHeads>
constexpr int kHeadsOfThread = kHeads == 1 ? 1 : kHeads / 2;

// How rows are divided among blocks, and where tiles wait to be put together.
struct Division {
  int64_t rows_of_block;
  int64_t parts;   // blocks for the query heads of one key head
  int64_t splits;  // blocks for the tiles of one row
  int64_t tiles;   // the most that a row can have
  float* values;   // [rows, heads, tiles, dim], or null where rows are not split
  float2* sums;    // [rows, heads, tiles]: largest and total
  bool has_tiled_rows;
};

// Elements of a query in shared memory: whole 16-byte pieces of keys of any type.
__host__ __device__ constexpr int PaddedDim(int dim) {
  return (dim + 15) / 16 * 16;
}

// Bytes of a key in shared memory. Threads read rows side by side, 16 bytes each: with 16 bytes
// between rows eight of them are in different banks.
template <class T>
__host__ __device__ constexpr int RowBytes(int dim) {
  return (dim * static_cast<int>(sizeof(T)) + 15) / 16 * 16 + 16;
}

template <class T>
constexpr int kPiece = 16 / static_cast<int>(sizeof(T));

template <class T, int kHeads>
struct SharedRows {
  float* q;      // [kHeads, padded dim]
  float* total;  // the same
  float* score;  // [kHeads, kTile]
  unsigned char* k;
  unsigned char* v;

  __device__ SharedRows(float* memory, int dim) {
    q = memory;
    total = q + kHeads * PaddedDim(dim);
    score = total + kHeads * PaddedDim(dim);
    k = reinterpret_cast<unsigned char*>(score + kHeads * kTile);
    v = k + kTile * RowBytes<T>(dim);
  }
  static size_t Bytes(int dim) {
    return sizeof(float) * kHeads * (2 * PaddedDim(dim) + kTile) +
           size_t{2} * kTile * RowBytes<T>(dim);
  }
};

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
template <class T, int kBlock>
__device__ void StartTile(const T* cache, const int64_t* at, int n, int dim, bool is_aligned,
                          unsigned char* tile) {
  const int pieces = (dim + kPiece<T> - 1) / kPiece<T>;
  for (int i = threadIdx.x; i < kTile * pieces; i += kBlock) {
    const int j = i / pieces;
    const int d = i % pieces * kPiece<T>;
    T* to = reinterpret_cast<T*>(tile + j * RowBytes<T>(dim)) + d;
    const int64_t row = j < n ? at[j] : -1;
    if (row >= 0 && is_aligned) {
      CopyAsync16(to, cache + row * dim + d);
      continue;
    }
    Pack<T, kPiece<T>> piece{};
    for (int e = 0; row >= 0 && e < kPiece<T> && d + e < dim; ++e)
      piece.at[e] = cache[row * dim + d + e];
    StorePack(to, piece);
  }
}

template <class T, int kHeads>
__device__ void ScoreTile(const SharedRows<T, kHeads>& shared, int dim) {
  constexpr int kMine = kHeadsOfThread<kHeads>;
  const int j = threadIdx.x % kTile;
  const int first = threadIdx.x / kTile * kMine;
  const float* q = shared.q + first * PaddedDim(dim);
  const T* key = reinterpret_cast<const T*>(shared.k + j * RowBytes<T>(dim));
  float sum[kMine] = {};
  for (int d = 0; d < dim; d += kPiece<T>) {
    const auto piece = LoadPack<T, kPiece<T>>(key + d);
    for (int e = 0; e < kPiece<T>; e += 4) {
      for (int h = 0; h < kMine; ++h) {
        const auto query = LoadPack<float, 4>(q + h * PaddedDim(dim) + d + e);
        for (int i = 0; i < 4; ++i) sum[h] = __fmaf_rn(query.at[i], Widen(piece.at[e + i]), sum[h]);
      }
    }
  }
  for (int h = 0; h < kMine; ++h) shared.score[(first + h) * kTile + j] = sum[h];
}

// Calls take(head, d, sum) with the weighted sum of the tile's values for each element.
template <class T, int kHeads, class F>
__device__ void SumValues(const SharedRows<T, kHeads>& shared, const float* offset, int seen,
                          int dim, F take) {
  constexpr int kMine = kHeadsOfThread<kHeads>;
  const int first = threadIdx.x / kTile * kMine;
  const float* weight = shared.score + first * kTile;
  for (int d = threadIdx.x % kTile * 2; d < dim; d += 2 * kTile) {
    float part[kMine][2];
    for (int h = 0; h < kMine; ++h) part[h][0] = part[h][1] = kIsCoded<T> ? offset[first + h] : 0;
    const auto add = [&](int j, int h, float w) {
      const T* row = reinterpret_cast<const T*>(shared.v + j * RowBytes<T>(dim));
      const auto value = LoadPack<T, 2>(row + d);
      for (int i = 0; i < 2; ++i) part[h][i] = __fmaf_rn(w, Widen(value.at[i]), part[h][i]);
    };
    int j = 0;
    for (; j + 4 <= seen; j += 4) {
      for (int h = 0; h < kMine; ++h) {
        const auto w = LoadPack<float, 4>(weight + h * kTile + j);
        for (int i = 0; i < 4; ++i) add(j + i, h, w.at[i]);
      }
    }
    for (; j < seen; ++j) {
      for (int h = 0; h < kMine; ++h) add(j, h, weight[h * kTile + j]);
    }
    for (int h = 0; h < kMine; ++h) {
      for (int i = 0; i < 2 && d + i < dim; ++i) take(first + h, d + i, part[h][i]);
    }
  }
}

// A block's state beside its tiles.
template <int kHeads>
struct Block {
  int64_t at[2][kTile];  // rows of the cache, of this tile and the next
  TileGrids grids[2];
  Running running[kHeads];
  float offset[kHeads];
  float query_sum[kHeads];
};

// Attends with heads [first_head, first_head + heads) of a row over every `splits`th tile.
template <class T, int kHeads>
__device__ void AttendRow(const AttentionView<T>& view, const Division& division, bool is_aligned,
                          int64_t row, int64_t kv_head, int first_head, int heads, int64_t split,
                          int64_t visible, float* memory, Block<kHeads>& block) {
  constexpr int kBlock = kThreads<kHeads>;
  const int dim = view.dim;
  const int warp = threadIdx.x / kWarpSize;
  const int64_t sequence = view.steps.row_sequence[row];
  const int64_t tiles = CeilDivide(visible, kTile);
  const SharedRows<T, kHeads> shared(memory, dim);

  const auto find = [&](int64_t tile, int slot) {
    const int64_t position = tile * kTile + threadIdx.x;
    if (threadIdx.x >= kTile || position >= visible) return;
    const int64_t at = view.steps.Find(sequence, position, kv_head);
    block.at[slot][threadIdx.x] = at;
    LoadGrids(view, at, threadIdx.x, block.grids[slot]);
  };
  const auto rows_in = [&](int64_t tile) {
    const int64_t left = visible - tile * kTile;
    return static_cast<int>(left < 0 ? 0 : left < kTile ? left : kTile);
  };
  const auto start = [&](const T* cache, int64_t tile, int slot, unsigned char* to) {
    if (tile < tiles)
      StartTile<T, kBlock>(cache, block.at[slot], rows_in(tile), dim, is_aligned, to);
    CommitCopies();
  };

  find(split, 0);
  for (int i = threadIdx.x; i < kHeads * PaddedDim(dim); i += kBlock) {
    const int h = i / PaddedDim(dim);
    const int d = i % PaddedDim(dim);
    const bool is_there = h < heads && d < dim;
    shared.q[i] = is_there ? view.q.Row(row)[int64_t{first_head + h} * dim + d] : 0.0f;
    shared.total[i] = 0;
  }
  if (threadIdx.x < kHeads) block.running[threadIdx.x].Start();
  __syncthreads();
  start(view.k, split, 0, shared.k);
  start(view.v, split, 0, shared.v);
  if constexpr (kIsCoded<T>) {
    for (int h = warp; h < heads; h += kBlock / kWarpSize)
      block.query_sum[h] = QuerySum(shared.q + h * PaddedDim(dim), dim);
  }
  int slot = 0;
  for (int64_t tile = split; tile < tiles; tile += division.splits, slot ^= 1) {
    const int64_t next = tile + division.splits;
    const int seen = rows_in(tile);
    WaitCopies<1>();
    __syncthreads();
    find(next, slot ^ 1);
    ScoreTile(shared, dim);
    __syncthreads();
    start(view.k, next, slot ^ 1, shared.k);
    for (int h = warp; h < heads; h += kBlock / kWarpSize) {
      const TileSums sums = Weigh<T>(shared.score + h * kTile, seen, view.query_scale[row],
                                     kIsCoded<T> ? block.query_sum[h] : 0.0f, block.grids[slot]);
      if (threadIdx.x % kWarpSize != 0) continue;
      block.offset[h] = sums.offset;
      block.running[h].Add(sums.largest, sums.total);
      if (division.sums != nullptr) {
        const int64_t head = row * view.steps.kv_heads * view.group + first_head + h;
        division.sums[head * division.tiles + tile] = {sums.largest, sums.total};
      }
    }
    WaitCopies<1>();
    __syncthreads();
    SumValues(shared, block.offset, seen, dim, [&](int h, int d, float part) {
      if (h >= heads) return;
      if (division.values != nullptr) {
        const int64_t head = row * view.steps.kv_heads * view.group + first_head + h;
        division.values[(head * division.tiles + tile) * dim + d] = part;
      } else {
        float& total = shared.total[h * PaddedDim(dim) + d];
        total = PutTogether(total, block.running[h].keep, part, block.running[h].add);
        if (next >= tiles)
          view.y.Row(row)[int64_t{first_head + h} * dim + d] = total / block.running[h].total;
      }
    });
    __syncthreads();
    start(view.v, next, slot ^ 1, shared.v);
  }
}

template <class T, int kHeads>
__global__ void __launch_bounds__(kThreads<kHeads>)
    AttendRowsKernel(AttentionView<T> view, Division division, bool is_aligned) {
  DYNAMIC_SHARED(float, memory);
  SHARED(Block<kHeads>, block);
  const int64_t part = blockIdx.x % division.parts;
  const int64_t kv_head = blockIdx.x / division.parts % view.steps.kv_heads;
  const int64_t first = blockIdx.x / (division.parts * view.steps.kv_heads);
  const int first_head = static_cast<int>(kv_head * view.group + part * kHeads);
  const int left = view.group - static_cast<int>(part) * kHeads;
  for (int64_t i = 0; i < division.rows_of_block; ++i) {
    const int64_t row = first * division.rows_of_block + i;
    if (row >= view.rows) return;
    if (division.has_tiled_rows && IsTiled(view, row)) continue;
    const int64_t visible = view.steps.Visible(row, threadIdx.x == 0);
    if (int64_t{blockIdx.y} * kTile >= visible) continue;
    AttendRow<T, kHeads>(view, division, is_aligned, row, kv_head, first_head,
                         left < kHeads ? left : kHeads, blockIdx.y, visible, memory, block);
    __syncthreads();
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

// Enough blocks to fill the GPU several times over, as far as scratch memory allows.
template <class T>
Division Divide(Session& session, const AttentionView<T>& view, int heads_of_block) {
  Division division{};
  division.has_tiled_rows = HasTiles(view);
  division.parts = CeilDivide(view.group, heads_of_block);
  division.rows_of_block = view.rows <= 1024 ? 1 : 4;
  division.splits = 1;
  const Steps& steps = view.steps;
  division.tiles = CeilDivide(steps.max_blocks * steps.block_size, kTile);
  const int64_t heads = view.rows * steps.kv_heads * view.group;
  const int64_t blocks = view.rows * steps.kv_heads * division.parts;
  const int64_t enough = int64_t{session.multiprocessors()} * 2;
  const int64_t bytes =
      heads * division.tiles * (view.dim + 2) * static_cast<int64_t>(sizeof(float));
  if (blocks >= enough || division.tiles < 2 || bytes > kMostSplitBytes) return division;
  division.splits = std::min({CeilDivide(2 * enough, blocks), division.tiles, int64_t{65535}});
  auto* scratch = session.Scratch<float>(heads * division.tiles * (view.dim + 2));
  division.sums = reinterpret_cast<float2*>(scratch);
  division.values = scratch + heads * division.tiles * 2;
  return division;
}

// What a block may have on every GPU from sm_80 on.
constexpr size_t kMostShared = 163 << 10;

template <class T, int kHeads>
void Attend(Session& session, const AttentionView<T>& view) {
  const Division division = Divide(session, view, kHeads);
  const size_t bytes = SharedRows<T, kHeads>::Bytes(view.dim);
  if (bytes + sizeof(Block<kHeads>) > kMostShared) {
    throw Error(Code::kUnsupported,
                "attention: heads of " + std::to_string(view.dim) + " do not fit a GPU's memory");
  }
  const auto address = reinterpret_cast<uintptr_t>(view.k) | reinterpret_cast<uintptr_t>(view.v);
  const bool is_aligned = (address | view.dim * sizeof(T)) % 16 == 0;
  const int64_t groups = CeilDivide(view.rows, division.rows_of_block);
  Launch(session, AttendRowsKernel<T, kHeads>,
         {.blocks_x = BlockCount(groups * view.steps.kv_heads * division.parts),
          .blocks_y = static_cast<unsigned>(division.splits),
          .threads = static_cast<unsigned>(kThreads<kHeads>),
          .shared_bytes = bytes},
         view, division, is_aligned);
  if (division.values == nullptr) return;
  Launch(session, PutTogetherKernel<T>,
         {.blocks_x = BlockCount(view.rows * view.steps.kv_heads * view.group),
          .threads = kPutTogetherThreads},
         view, division);
}

}  // namespace

template <class T>
void AttendRows(Session& session, const AttentionView<T>& view) {
  if (view.group == 1) {
    Attend<T, 1>(session, view);
  } else if (view.group == 2) {
    Attend<T, 2>(session, view);
  } else if (view.group <= 4) {
    Attend<T, 4>(session, view);
  } else {
    Attend<T, 8>(session, view);
  }
}

template void AttendRows(Session& session, const AttentionView<float>& view);
template void AttendRows(Session& session, const AttentionView<F16>& view);
template void AttendRows(Session& session, const AttentionView<BF16>& view);
template void AttendRows(Session& session, const AttentionView<uint8_t>& view);

}  // namespace kernels::cuda

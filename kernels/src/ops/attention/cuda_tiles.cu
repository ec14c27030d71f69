#include "ops/attention/cuda_view.h"

// Rows of one sequence together, as a prompt has them: a block has up to kTileQueries queries of
// one key head.
namespace kernels::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kSide = 16;             // threads along queries, and along keys or elements
constexpr int kEach = kTile / kSide;  // queries or keys of a thread
constexpr int kScoreStride = kTile + 4;

__host__ __device__ constexpr int PaddedDim(int dim) {
  return (dim + 3) / 4 * 4;
}
// Of queries, keys and values in shared memory: threads read different rows, 16 bytes each.
__host__ __device__ constexpr int RowStride(int dim) {
  return PaddedDim(dim) + 4;
}

struct SharedTiles {
  float* q;      // [kTileQueries, dim]
  float* kv;     // [kTile, dim]: keys, then values
  float* score;  // [kTileQueries, kTile]

  __device__ SharedTiles(float* memory, int dim) {
    q = memory;
    kv = q + kTileQueries * RowStride(dim);
    score = kv + kTile * RowStride(dim);
  }
  static size_t Bytes(int dim) {
    return sizeof(float) * ((kTileQueries + kTile) * RowStride(dim) + kTileQueries * kScoreStride);
  }
};

struct Block {
  int64_t at[kTile];
  TileGrids grids;
  Running running[kTileQueries];
  float offset[kTileQueries];
  float query_sum[kTileQueries];
  float scale[kTileQueries];
  int64_t visible[kTileQueries];
};

// Queries of a block: query e is row first_row + e / group, head first_head + e % group.
struct Queries {
  int64_t first_row;
  int64_t first_head;
  int count;
};

// Rows of the cache, widened; those from n on are zero.
template <class T>
__device__ void LoadTile(const T* cache, const int64_t* at, int n, int dim, bool is_aligned,
                         float* tile) {
  constexpr int kPiece = 16 / static_cast<int>(sizeof(T));
  const int pieces = (dim + kPiece - 1) / kPiece;
  for (int i = threadIdx.x; i < kTile * pieces; i += kThreads) {
    const int j = i / pieces;
    const int d = i % pieces * kPiece;
    const int64_t row = j < n ? at[j] : -1;
    Pack<T, kPiece> piece{};
    if (row >= 0 && is_aligned) {
      piece = LoadPack<T, kPiece>(cache + row * dim + d);
    } else {
      for (int e = 0; row >= 0 && e < kPiece && d + e < dim; ++e)
        piece.at[e] = cache[row * dim + d + e];
    }
    float* to = tile + j * RowStride(dim) + d;
    for (int e = 0; e < kPiece; e += 4) {
      if (d + e >= dim) break;
      Pack<float, 4> wide;
      for (int c = 0; c < 4; ++c) wide.at[c] = Widen(piece.at[e + c]);
      StorePack(to + e, wide);
    }
  }
}

// Queries ty + 16 a, keys tx + 16 b.
__device__ inline void ScoreTile(const SharedTiles& shared, int dim) {
  const int tx = threadIdx.x % kSide;
  const int ty = threadIdx.x / kSide;
  float sum[kEach][kEach] = {};
  for (int d = 0; d < dim; d += 4) {
    Pack<float, 4> q[kEach];
    for (int a = 0; a < kEach; ++a)
      q[a] = LoadPack<float, 4>(shared.q + (ty + kSide * a) * RowStride(dim) + d);
    for (int b = 0; b < kEach; ++b) {
      const auto k = LoadPack<float, 4>(shared.kv + (tx + kSide * b) * RowStride(dim) + d);
      for (int a = 0; a < kEach; ++a) {
        for (int i = 0; i < 4; ++i) sum[a][b] = __fmaf_rn(q[a].at[i], k.at[i], sum[a][b]);
      }
    }
  }
  for (int a = 0; a < kEach; ++a) {
    for (int b = 0; b < kEach; ++b)
      shared.score[(ty + kSide * a) * kScoreStride + tx + kSide * b] = sum[a][b];
  }
}

// part += weights x values of positions [0, n) for queries ty + 16 a and elements 4 tx + 64 c.
// With kIsMasked only those that a query sees: what is hidden from it may be NaN.
template <int kSlices, bool kIsMasked>
__device__ void SumValues(const SharedTiles& shared, const int* seen, int n, int dim,
                          Pack<float, 4> part[kEach][kSlices]) {
  const int tx = threadIdx.x % kSide;
  const int ty = threadIdx.x / kSide;
  for (int j = 0; j < n; j += 4) {
    Pack<float, 4> w[kEach];
    for (int a = 0; a < kEach; ++a)
      w[a] = LoadPack<float, 4>(shared.score + (ty + kSide * a) * kScoreStride + j);
    for (int i = 0; i < 4; ++i) {
      for (int c = 0; c < kSlices; ++c) {
        const int d = 4 * tx + kTile * c;
        if (d >= dim) continue;
        const auto value = LoadPack<float, 4>(shared.kv + (j + i) * RowStride(dim) + d);
        for (int a = 0; a < kEach; ++a) {
          if (kIsMasked && j + i >= seen[a]) continue;
          for (int e = 0; e < 4; ++e)
            part[a][c].at[e] = __fmaf_rn(w[a].at[i], value.at[e], part[a][c].at[e]);
        }
      }
    }
  }
}

template <class T>
__device__ void LoadQueries(const AttentionView<T>& view, const Queries& queries,
                            const SharedTiles& shared, Block& block) {
  const int width = PaddedDim(view.dim);
  for (int i = threadIdx.x; i < kTileQueries * width; i += kThreads) {
    const int e = i / width;
    const int d = i % width;
    const bool is_there = e < queries.count && d < view.dim;
    const float* q = view.q.Row(queries.first_row + e / view.group) +
                     (queries.first_head + e % view.group) * view.dim;
    shared.q[e * RowStride(view.dim) + d] = is_there ? q[d] : 0.0f;
  }
  if (threadIdx.x < kTileQueries) {
    const int e = threadIdx.x;
    const bool is_there = e < queries.count;
    const int64_t row = queries.first_row + (is_there ? e / view.group : 0);
    block.scale[e] = is_there ? view.query_scale[row] : 0.0f;
    // What is not there sees all, lest its tiles be masked.
    block.visible[e] = is_there ? view.steps.Visible(row, true) : INT64_MAX;
    block.running[e].Start();
  }
  __syncthreads();
  if constexpr (kIsCoded<T>) {
    for (int e = threadIdx.x / kWarpSize; e < kTileQueries; e += kThreads / kWarpSize)
      block.query_sum[e] = QuerySum(shared.q + e * RowStride(view.dim), view.dim);
  }
}

__device__ inline int SeenOf(int64_t visible, int64_t start, int n) {
  const int64_t left = visible - start;
  return static_cast<int>(left < 0 ? 0 : left < n ? left : n);
}

template <class T>
__device__ void WeighTile(const SharedTiles& shared, int64_t start, int n, Block& block) {
  for (int e = threadIdx.x / kWarpSize; e < kTileQueries; e += kThreads / kWarpSize) {
    const int seen = SeenOf(block.visible[e], start, n);
    const TileSums sums = Weigh<T>(shared.score + e * kScoreStride, seen, block.scale[e],
                                   kIsCoded<T> ? block.query_sum[e] : 0.0f, block.grids);
    if (threadIdx.x % kWarpSize != 0) continue;
    block.offset[e] = sums.offset;
    if (seen > 0) block.running[e].Add(sums.largest, sums.total);
  }
}

template <class T, int kSlices>
__device__ void AttendRun(const AttentionView<T>& view, const Queries& queries, int64_t kv_head,
                          bool is_aligned, float* memory, Block& block) {
  const int dim = view.dim;
  const int tx = threadIdx.x % kSide;
  const int ty = threadIdx.x / kSide;
  const int64_t sequence = view.steps.row_sequence[queries.first_row];
  const SharedTiles shared(memory, dim);
  LoadQueries(view, queries, shared, block);
  int64_t longest = 0;
  for (int e = 0; e < queries.count; ++e)
    longest = block.visible[e] > longest ? block.visible[e] : longest;

  Pack<float, 4> total[kEach][kSlices] = {};
  for (int64_t start = 0; start < longest; start += kTile) {
    const int n = SeenOf(longest, start, kTile);
    if (static_cast<int>(threadIdx.x) < n) {
      const int64_t at = view.steps.Find(sequence, start + threadIdx.x, kv_head);
      block.at[threadIdx.x] = at;
      LoadGrids(view, at, threadIdx.x, block.grids);
    }
    __syncthreads();
    LoadTile(view.k, block.at, n, dim, is_aligned, shared.kv);
    __syncthreads();
    ScoreTile(shared, dim);
    __syncthreads();
    LoadTile(view.v, block.at, n, dim, is_aligned, shared.kv);
    WeighTile<T>(shared, start, n, block);
    __syncthreads();
    int seen[kEach];
    bool is_masked = false;
    Pack<float, 4> part[kEach][kSlices];
    for (int a = 0; a < kEach; ++a) {
      const int e = ty + kSide * a;
      seen[a] = SeenOf(block.visible[e], start, n);
      is_masked |= seen[a] < n;
      for (int c = 0; c < kSlices; ++c) {
        for (int i = 0; i < 4; ++i) part[a][c].at[i] = kIsCoded<T> ? block.offset[e] : 0.0f;
      }
    }
    if (is_masked) {
      SumValues<kSlices, true>(shared, seen, n, dim, part);
    } else {
      SumValues<kSlices, false>(shared, seen, n, dim, part);
    }
    for (int a = 0; a < kEach; ++a) {
      if (seen[a] == 0) continue;
      const Running& running = block.running[ty + kSide * a];
      for (int c = 0; c < kSlices; ++c) {
        for (int i = 0; i < 4; ++i)
          total[a][c].at[i] =
              PutTogether(total[a][c].at[i], running.keep, part[a][c].at[i], running.add);
      }
    }
    __syncthreads();
  }
  for (int a = 0; a < kEach; ++a) {
    const int e = ty + kSide * a;
    if (e >= queries.count || block.visible[e] == 0) continue;
    float* y = view.y.Row(queries.first_row + e / view.group) +
               (queries.first_head + e % view.group) * dim;
    for (int c = 0; c < kSlices; ++c) {
      for (int i = 0; i < 4; ++i) {
        const int d = 4 * tx + kTile * c + i;
        if (d < dim) y[d] = total[a][c].at[i] / block.running[e].total;
      }
    }
  }
}

// A block for each group of rows and key head; it goes through the group's long runs.
template <class T, int kSlices>
__global__ void __launch_bounds__(kThreads, kSlices <= 2 ? 2 : 1)
    AttendTilesKernel(AttentionView<T> view, bool is_aligned) {
  DYNAMIC_SHARED(float, memory);
  SHARED(Block, block);
  const int rows_of_tile = RowsOfTile(view);
  const int64_t kv_head = blockIdx.x % view.steps.kv_heads;
  // The last rows of a prompt see the most: they go first, so that the blocks end together.
  const int64_t group = gridDim.x / view.steps.kv_heads - 1 - blockIdx.x / view.steps.kv_heads;
  const int64_t begin = group * rows_of_tile;
  const int64_t end = begin + rows_of_tile < view.rows ? begin + rows_of_tile : view.rows;
  for (int64_t first = begin; first < end;) {
    int64_t last = first + 1;
    while (last < end && view.steps.row_sequence[last] == view.steps.row_sequence[first]) ++last;
    const int run = static_cast<int>(last - first);
    if (IsTiledRun(run, view.group)) {
      const Queries queries = {first, kv_head * view.group, run * view.group};
      AttendRun<T, kSlices>(view, queries, kv_head, is_aligned, memory, block);
      __syncthreads();
    }
    first = last;
  }
}

}  // namespace

template <class T>
void AttendTiles(Session& session, const AttentionView<T>& view) {
  const auto address = reinterpret_cast<uintptr_t>(view.k) | reinterpret_cast<uintptr_t>(view.v);
  const bool is_aligned = (address | view.dim * sizeof(T)) % 16 == 0;
  const int64_t groups = CeilDivide(view.rows, RowsOfTile(view));
  const Shape shape = {.blocks_x = BlockCount(groups * view.steps.kv_heads),
                       .threads = kThreads,
                       .shared_bytes = SharedTiles::Bytes(view.dim)};
  if (view.dim <= kTile) {
    Launch(session, AttendTilesKernel<T, 1>, shape, view, is_aligned);
  } else if (view.dim <= 2 * kTile) {
    Launch(session, AttendTilesKernel<T, 2>, shape, view, is_aligned);
  } else {
    Launch(session, AttendTilesKernel<T, 4>, shape, view, is_aligned);
  }
}

template void AttendTiles(Session& session, const AttentionView<float>& view);
template void AttendTiles(Session& session, const AttentionView<F16>& view);
template void AttendTiles(Session& session, const AttentionView<BF16>& view);
template void AttendTiles(Session& session, const AttentionView<uint8_t>& view);

}  // namespace kernels::cuda

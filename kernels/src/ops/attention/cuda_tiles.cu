#include "ops/attention/cuda_warp.h"

// Rows of one sequence together, as a prompt has them: a block has up to kTileQueries queries of
// one key head, a warp kWarpQueries of them. Keys and values are split into bf16 parts once for
// all, values also transposed: products take two positions of one element at a time.
namespace kernels::cuda {

namespace {

constexpr int kWarps = kTileQueries / kWarpQueries;
constexpr int kThreads = kWarps * kWarpSize;

// Words of two positions of one element of the values.
constexpr int kValueWords = kTile / 2 + 4;

template <class T>
struct SharedTiles {
  uint32_t* q;  // [kQueryParts, kTileQueries, RowWords(dim)]
  uint32_t* k;  // [kParts<T>, kTile, RowWords(dim)]
  uint32_t* v;  // [kParts<T>, PaddedDim(dim), kValueWords]

  __device__ SharedTiles(uint32_t* memory, int dim) {
    q = memory;
    k = q + kQueryParts * kTileQueries * RowWords(dim);
    v = k + kParts<T> * kTile * RowWords(dim);
  }
  static size_t Bytes(int dim) {
    return sizeof(uint32_t) * ((kQueryParts * kTileQueries + kParts<T> * kTile) * RowWords(dim) +
                               kParts<T> * PaddedDim(dim) * kValueWords);
  }
};

struct Block {
  int64_t at[kTile];
  TileGrids grids;
  int key_is_odd[kTile];
  int value_is_odd[kTile];
  int64_t visible[kTileQueries];
};

// Queries of a block: query e is row first_row + e / group, head first_head + e % group.
struct Queries {
  int64_t first_row;
  int64_t first_head;
  int count;
};

// 16 bytes of a row of the cache, from element d on; zero beyond its end and where there is none.
template <class T>
__device__ __forceinline__ Pack<T, kPiece<T>> LoadPiece(const T* cache, int64_t row, int d, int dim,
                                                        bool is_aligned) {
  Pack<T, kPiece<T>> piece{};
  if (row < 0 || d >= dim) return piece;
  if (is_aligned) return LoadPack<T, kPiece<T>>(cache + row * dim + d);
  for (int e = 0; e < kPiece<T> && d + e < dim; ++e) piece.at[e] = cache[row * dim + d + e];
  return piece;
}

template <class T>
__device__ void LoadKeys(const AttentionView<T>& view, int n, bool is_aligned,
                         const SharedTiles<T>& shared, Block& block) {
  constexpr int kWords = kPiece<T> / 2;
  const int dim = view.dim;
  const int pieces = PaddedDim(dim) / kPiece<T>;
  for (int i = threadIdx.x; i < kTile * pieces; i += kThreads) {
    const int j = i / pieces;
    const int d = i % pieces * kPiece<T>;
    const auto piece = LoadPiece(view.k, j < n ? block.at[j] : -1, d, dim, is_aligned);
    Pack<uint32_t, 2> words[kParts<T>][kWords / 2];
    bool is_odd = false;
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      uint32_t parts[kParts<T>];
      is_odd |= SplitFinite(piece.at[2 * w], piece.at[2 * w + 1], parts);
      for (int part = 0; part < kParts<T>; ++part) words[part][w / 2].at[w % 2] = parts[part];
    }
    for (int part = 0; part < kParts<T>; ++part) {
      uint32_t* to = shared.k + (part * kTile + j) * RowWords(dim) + d / 2;
#pragma unroll
      for (int w = 0; w < kWords / 2; ++w) StorePack(to + 2 * w, words[part][w]);
    }
    if (is_odd) block.key_is_odd[j] = 1;
  }
}

// Neighbouring threads have neighbouring pairs of positions: their words are in different banks.
template <class T>
__device__ void LoadValues(const AttentionView<T>& view, int n, bool is_aligned,
                           const SharedTiles<T>& shared, Block& block) {
  const int dim = view.dim;
  constexpr int kPairs = kTile / 2;
  for (int i = threadIdx.x; i < kPairs * (PaddedDim(dim) / kPiece<T>); i += kThreads) {
    const int j = i % kPairs * 2;
    const int d = i / kPairs * kPiece<T>;
    const auto first = LoadPiece(view.v, j < n ? block.at[j] : -1, d, dim, is_aligned);
    const auto second = LoadPiece(view.v, j + 1 < n ? block.at[j + 1] : -1, d, dim, is_aligned);
    bool is_odd = false;
#pragma unroll
    for (int e = 0; e < kPiece<T>; ++e) {
      uint32_t parts[kParts<T>];
      is_odd |= SplitFinite(first.at[e], second.at[e], parts);
      for (int part = 0; part < kParts<T>; ++part)
        shared.v[(part * PaddedDim(dim) + d + e) * kValueWords + j / 2] = parts[part];
    }
    if (is_odd) block.value_is_odd[j] = block.value_is_odd[j + 1] = 1;
  }
}

__device__ inline uint64_t SetOf(const int* flags) {
  const int lane = threadIdx.x % kWarpSize;
  const uint64_t lower = __ballot_sync(kAllLanes, flags[lane] != 0);
  return lower | uint64_t{__ballot_sync(kAllLanes, flags[lane + kWarpSize] != 0)} << 32;
}

template <class T>
__device__ const float* QueryAt(const AttentionView<T>& view, const Queries& queries, int e) {
  if (e >= queries.count) return nullptr;
  return view.q.Row(queries.first_row + e / view.group) +
         (queries.first_head + e % view.group) * view.dim;
}

// What a lane keeps of its two queries, g and g + 8 of its warp's, and their sums so far.
template <int kGroups>
struct LaneState {
  Running running[2];
  int64_t visible[2];
  float scale[2];
  float query_sum[2];
  float total[kGroups][4];
};

template <class T, int kGroups>
__device__ void LoadQueries(const AttentionView<T>& view, const Queries& queries,
                            const SharedTiles<T>& shared, Block& block, LaneState<kGroups>& state) {
  const int warp = threadIdx.x / kWarpSize;
  const auto [g, t] = PlaceOfLane();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int e = warp * kWarpQueries + g + 8 * half;
    const int64_t row = queries.first_row + e / view.group;
    const bool is_there = e < queries.count;
    state.running[half].Start();
    state.visible[half] = is_there ? view.steps.Visible(row, t == 0) : 0;
    state.scale[half] = is_there ? view.query_scale[row] : 0.0f;
    state.query_sum[half] = 0;
    if (t == 0) block.visible[e] = state.visible[half];
#pragma unroll
    for (int e_in_warp = 0; e_in_warp < 8; ++e_in_warp) {
      const int own = warp * kWarpQueries + e_in_warp + 8 * half;
      const float* from = QueryAt(view, queries, own);
      StoreQuery(from, view.dim, shared.q, kTileQueries, own);
      if constexpr (kIsCoded<T>) {
        const float sum = from == nullptr ? 0.0f : QuerySum(from, view.dim);
        if (e_in_warp == g) state.query_sum[half] = sum;
      }
    }
  }
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    for (int i = 0; i < 4; ++i) state.total[group][i] = 0;
  }
}

// This warp's queries and one tile.
template <class T, int kGroups>
__device__ __forceinline__ void AttendTile(const AttentionView<T>& view, const Queries& queries,
                                           const SharedTiles<T>& shared, const Block& block,
                                           int64_t start, LaneState<kGroups>& state) {
  const int dim = view.dim;
  const int first = threadIdx.x / kWarpSize * kWarpQueries;
  const int g = PlaceOfLane().g;
  const int seen[2] = {SeenOf(state.visible[0], start), SeenOf(state.visible[1], start)};
  float score[kColumns][4];
  Score<T>(
      {shared.q, kTileQueries}, first, dim,
      [&](int column, int word, uint32_t* parts) {
        for (int part = 0; part < kParts<T>; ++part)
          parts[part] = shared.k[(part * kTile + 8 * column + g) * RowWords(dim) + word];
      },
      score);
  if constexpr (!kIsCoded<T>) {
    const uint64_t odd = SetOf(block.key_is_odd);
    if (odd != 0) {
      ScoreOdd(
          odd, dim, [&](int e) { return QueryAt(view, queries, first + e); },
          [&](int j) { return block.at[j] < 0 ? nullptr : view.k + block.at[j] * dim; }, score);
    }
  }
  const TileSums lower =
      Weigh<T, 0>(score, seen[0], state.scale[0], state.query_sum[0], block.grids);
  const TileSums upper =
      Weigh<T, 1>(score, seen[1], state.scale[1], state.query_sum[1], block.grids);
  state.running[0].Add(lower.largest, lower.total);
  state.running[1].Add(upper.largest, upper.total);
  WeightWords weights;
  SplitWeights(score, weights);
  const uint64_t odd = kIsCoded<T> ? 0 : SetOf(block.value_is_odd);
#pragma unroll
  for (int group = 0; group < kGroups; group += kElementGroups) {
    if (8 * group >= dim) break;
    float sum[kElementGroups][4];
#pragma unroll
    for (int n = 0; n < kElementGroups; ++n) {
      for (int i = 0; i < 4; ++i)
        sum[n][i] = kIsCoded<T> ? (i < 2 ? lower.offset : upper.offset) : 0.0f;
    }
    SumValues<T>(
        weights, group,
        [&](int eight, int word, uint32_t* parts) {
          for (int part = 0; part < kParts<T>; ++part)
            parts[part] = shared.v[(part * PaddedDim(dim) + 8 * eight + g) * kValueWords + word];
        },
        sum);
    if (odd != 0) {
      SumOddValues(
          odd, weights, group, seen, dim,
          [&](int j) { return block.at[j] < 0 ? nullptr : view.v + block.at[j] * dim; }, sum);
    }
#pragma unroll
    for (int n = 0; n < kElementGroups; ++n) {
      for (int i = 0; i < 4; ++i) {
        float& total = state.total[group + n][i];
        const Running& running = state.running[i / 2];
        total = PutTogether(total, running.keep, sum[n][i], running.add);
      }
    }
  }
}

template <class T, int kGroups>
__device__ void StoreResults(const AttentionView<T>& view, const Queries& queries,
                             const LaneState<kGroups>& state) {
  const auto [g, t] = PlaceOfLane();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int e = threadIdx.x / kWarpSize * kWarpQueries + g + 8 * half;
    if (state.visible[half] == 0) continue;
    float* y = view.y.Row(queries.first_row + e / view.group) +
               (queries.first_head + e % view.group) * view.dim;
#pragma unroll
    for (int i = 0; i < 2 * kGroups; ++i) {
      const int d = i / 2 * 8 + 2 * t + i % 2;
      if (d < view.dim) y[d] = state.total[i / 2][2 * half + i % 2] / state.running[half].total;
    }
  }
}

template <class T, int kGroups>
__device__ void AttendRun(const AttentionView<T>& view, const Queries& queries, int64_t kv_head,
                          bool is_aligned, uint32_t* memory, Block& block) {
  const SharedTiles<T> shared(memory, view.dim);
  const int64_t sequence = view.steps.row_sequence[queries.first_row];
  const int first = threadIdx.x / kWarpSize * kWarpQueries;
  LaneState<kGroups> state;
  LoadQueries(view, queries, shared, block, state);
  __syncthreads();
  int64_t longest = 0;  // that a query of the block sees, and of this warp
  int64_t own_longest = 0;
  for (int e = 0; e < queries.count; ++e) {
    const int64_t visible = block.visible[e];
    longest = visible > longest ? visible : longest;
    const bool is_own = e >= first && e < first + kWarpQueries;
    own_longest = is_own && visible > own_longest ? visible : own_longest;
  }
  for (int64_t start = 0; start < longest; start += kTile) {
    const int n = SeenOf(longest, start);
    const int j = static_cast<int>(threadIdx.x);
    if (j < kTile) block.key_is_odd[j] = block.value_is_odd[j] = 0;
    if (j < n) {
      const int64_t at = view.steps.Find(sequence, start + j, kv_head);
      block.at[j] = at;
      LoadGrids(view, at, j, block.grids);
    }
    __syncthreads();
    LoadKeys(view, n, is_aligned, shared, block);
    LoadValues(view, n, is_aligned, shared, block);
    __syncthreads();
    if (start < own_longest) AttendTile(view, queries, shared, block, start, state);
    __syncthreads();
  }
  StoreResults(view, queries, state);
}

// A block for each group of rows and key head; it goes through the group's long runs.
template <class T, int kGroups>
__global__ void __launch_bounds__(kThreads, 2)
    AttendTilesKernel(AttentionView<T> view, bool is_aligned) {
  DYNAMIC_SHARED(uint32_t, memory);
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
      AttendRun<T, kGroups>(view, queries, kv_head, is_aligned, memory, block);
      __syncthreads();  // unseen: needed where no query of the run sees a key
    }
    first = last;
  }
}

}  // namespace

template <class T>
void AttendTiles(Session& session, const AttentionView<T>& view) {
  const bool is_aligned = HasAlignedRows(view);
  const int64_t groups = CeilDivide(view.rows, RowsOfTile(view));
  const Shape shape = {.blocks_x = BlockCount(groups * view.steps.kv_heads),
                       .threads = kThreads,
                       .shared_bytes = SharedTiles<T>::Bytes(view.dim)};
  if (view.dim <= 64) {
    Launch(session, AttendTilesKernel<T, 8>, shape, view, is_aligned);
  } else {
    Launch(session, AttendTilesKernel<T, 16>, shape, view, is_aligned);
  }
}

template void AttendTiles(Session& session, const AttentionView<float>& view);
template void AttendTiles(Session& session, const AttentionView<F16>& view);
template void AttendTiles(Session& session, const AttentionView<BF16>& view);
template void AttendTiles(Session& session, const AttentionView<uint8_t>& view);

}  // namespace kernels::cuda

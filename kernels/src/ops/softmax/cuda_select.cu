#include <algorithm>

#include "cuda/numbers.h"
#include "cuda/rows.h"
#include "ops/softmax/softmax.h"

// Pick and Argmax.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 1024;

const int32_t kIndex = RegisterFault("pick: index");

__global__ void PickKernel(Matrix<const float> x, int64_t width, const int32_t* index,
                           FaultSink faults, int64_t rows, float* y) {
  const int64_t row = blockIdx.x * int64_t{kRowThreads} + threadIdx.x;
  if (row >= rows) return;
  const int64_t at = index[row];
  if (at < 0 || at >= width) {
    faults.Report(row, at, 0, width);
    return;
  }
  y[row] = x.Row(row)[at];
}

// NaN, whose key is above all others, has no index.
__device__ inline int32_t IndexOrNone(uint64_t rank) {
  return KeyOfRank(rank) == OrderedKey(QuietNaN()) ? -1 : IndexOfRank(rank);
}

// The best rank of each of gridDim.y parts of a row; of the whole row y if there is one part.
template <int n>
__global__ void __launch_bounds__(kThreads)
    RankKernel(Matrix<const float> x, int64_t limit, uint64_t* parts, int32_t* y) {
  const float* from = x.Row(blockIdx.x);
  uint64_t best = 0;
  const auto see = [&](float value, int64_t index) {
    const uint64_t rank = RankOf(value, index);
    best = rank > best ? rank : best;
  };
  const int64_t first = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  const int64_t packs = limit / n;
  for (int64_t at = first; at < packs; at += int64_t{gridDim.y} * kThreads) {
    const auto pack = LoadPack<float, n>(from + at * n);
    for (int i = 0; i < n; ++i) see(pack.at[i], at * n + i);
  }
  if (packs * n + first < limit) see(from[packs * n + first], packs * n + first);
  best = BlockMax(best);
  if (threadIdx.x != 0) return;
  if (gridDim.y == 1) {
    y[blockIdx.x] = IndexOrNone(best);
  } else {
    parts[int64_t{blockIdx.x} * gridDim.y + blockIdx.y] = best;
  }
}

// A warp for each row.
__global__ void BestKernel(const uint64_t* parts, int64_t count, int32_t* y) {
  uint64_t best = 0;
  for (int64_t i = threadIdx.x; i < count; i += kWarpSize) {
    const uint64_t rank = parts[blockIdx.x * count + i];
    best = rank > best ? rank : best;
  }
  best = WarpMax(best);
  if (threadIdx.x == 0) y[blockIdx.x] = IndexOrNone(best);
}

void RunPick(Session& session, const PickArgs& args) {
  const int64_t rows = args.x.shape[0];
  Launch(session, PickKernel,
         {.blocks_x = BlockCount(CeilDivide(rows, kRowThreads)), .threads = kRowThreads},
         MatrixOf<const float>(args.x), args.x.shape[1], args.index.As<const int32_t>(),
         FaultSink{session.faults(), kIndex}, rows, args.y.As<float>());
}

void RunArgmax(Session& session, const ArgmaxArgs& args) {
  const int64_t rows = args.x.shape[0];
  if (rows == 0) return;
  const bool has_packs =
      reinterpret_cast<uintptr_t>(args.x.data) % 16 == 0 && (rows < 2 || args.x.stride[0] % 4 == 0);
  // A single block would take long for a vocabulary.
  const int64_t useful = CeilDivide(args.limit, 4 * kThreads);
  const int64_t wanted = CeilDivide(session.multiprocessors(), rows);
  const int64_t parts = std::min({useful, wanted, int64_t{65535}});
  auto* ranks = parts > 1 ? session.Scratch<uint64_t>(rows * parts) : nullptr;
  auto* y = args.y.As<int32_t>();
  WithPacks<4>(has_packs, [&](auto pack) {
    Launch(session, RankKernel<pack()>,
           {.blocks_x = BlockCount(rows),
            .blocks_y = static_cast<unsigned>(parts),
            .threads = kThreads},
           MatrixOf<const float>(args.x), args.limit, ranks, y);
  });
  if (parts > 1) {
    Launch(session, BestKernel, {.blocks_x = BlockCount(rows), .threads = kWarpSize}, ranks, parts,
           y);
  }
}

const Operation<PickArgs, RunPick> pick("pick");
const Operation<ArgmaxArgs, RunArgmax> argmax("argmax");

}  // namespace

}  // namespace kernels::cuda

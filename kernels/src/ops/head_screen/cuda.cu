#include <algorithm>
#include <climits>
#include <cmath>

#include "ops/gemm/products.h"
#include "ops/head_screen/head_screen.h"

// screenedArgmax: bounds rule rows of the weight out; those that are left are computed by what
// computes them in `linear`, with the same bits; and of these the largest is taken. How many are
// left only the GPU knows: the blocks that compute them take them 16 at a time until none is left.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;
// Rows of the weight that one block bounds.
constexpr int64_t kChunk = 16 * kThreads;

struct Screen {
  Matrix<const float> x;
  Matrix<const float> approx;
  const float* slack;
  int64_t rows, in, limit, chunks;
  float* certain;       // [rows, chunks]: the largest value that some row of a chunk reaches
  int32_t* candidates;  // [rows, limit], the first `scored` of each row
  float* values;        // [rows, limit]: of the candidates
  int32_t* scored;      // [rows]
  int32_t* y;           // [rows]
};

// The same in every block: its order depends on the width only.
__device__ float NormOf(const float* x, int64_t in) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < in; i += kThreads) sum += double{x[i]} * double{x[i]};
  return static_cast<float>(sqrt(BlockSum(sum)));
}

__global__ void BoundKernel(Screen screen) {
  const int64_t row = blockIdx.x / screen.chunks;
  const int64_t chunk = blockIdx.x % screen.chunks;
  const float norm = NormOf(screen.x.Row(row), screen.in);
  const float* approx = screen.approx.Row(row);
  float best = -INFINITY;
  for (int64_t i = threadIdx.x; i < kChunk; i += kThreads) {
    const int64_t o = chunk * kChunk + i;
    if (o >= screen.limit) break;
    const float least = approx[o] - norm * screen.slack[o];
    best = least > best ? least : best;  // NaN never
  }
  best = BlockMax(best);
  if (threadIdx.x != 0) return;
  screen.certain[blockIdx.x] = best;
  if (chunk == 0) screen.scored[row] = 0;
}

// Candidates in an order that changes from run to run: neither their values nor what is said of
// them depends on it.
__global__ void SelectKernel(Screen screen) {
  const int64_t row = blockIdx.x / screen.chunks;
  const int64_t chunk = blockIdx.x % screen.chunks;
  const float norm = NormOf(screen.x.Row(row), screen.in);
  const float* approx = screen.approx.Row(row);
  float certain = -INFINITY;
  for (int64_t i = threadIdx.x; i < screen.chunks; i += kThreads) {
    const float best = screen.certain[row * screen.chunks + i];
    certain = best > certain ? best : certain;
  }
  certain = BlockMax(certain);
  for (int64_t i = threadIdx.x; i < kChunk; i += kThreads) {
    const int64_t o = chunk * kChunk + i;
    // The comparison is such that NaN stays in.
    if (o >= screen.limit || approx[o] + norm * screen.slack[o] < certain) continue;
    const int32_t at = atomicAdd(screen.scored + row, 1);
    screen.candidates[row * screen.limit + at] = static_cast<int32_t>(o);
  }
}

// The candidates' rows of the weight, as an operand of a product.
template <class T>
struct Candidates : PlainChains {
  static constexpr int kParts = StoredRows<T>::kParts;
  using Raw = typename StoredRows<T>::Raw;

  StoredRows<T> weight;
  const int32_t* index;
  int64_t rows, depth;

  __device__ __forceinline__ Raw Load(int64_t row, int64_t input) const {
    return row < rows ? weight.Load(index[row], input) : Raw{};
  }
  __device__ float Value(int64_t row, int64_t input) const {
    return weight.Value(index[row], input);
  }
  __device__ __forceinline__ void Split(const Raw& raw, int64_t row, int64_t input,
                                        uint4 parts[kParts]) const {
    weight.Split(raw, row, input, parts);
  }
};

using Tile = FewTile<1, 1>;

struct CandidateValues {
  float* values;
  __device__ void Write(int64_t row, int64_t, float total) const { values[row] = total; }
};

template <class T>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ScoreKernel(Screen screen, StoredRows<T> weight, StoredRows<float> x) {
  DYNAMIC_SHARED(float, sums);
  Candidates<T> candidates;
  candidates.weight = weight;
  candidates.depth = weight.depth;
  x.rows = 1;
  for (int64_t row = 0; row < screen.rows; ++row, x.data += x.stride) {
    candidates.index = screen.candidates + row * screen.limit;
    candidates.rows = screen.scored[row];
    // Rows begin at blocks of their own: most have few candidates.
    for (int64_t group = (blockIdx.x + row) % gridDim.x; group * Tile::kRowsA < candidates.rows;
         group += gridDim.x) {
      MultiplyFewRows<Tile>(candidates, x, CandidateValues{screen.values + row * screen.limit},
                            screen.in, group * Tile::kRowsA, sums);
    }
  }
}

struct Best {
  float value;
  int32_t index;  // INT_MAX: none yet
  int32_t has_nan;

  __device__ void Take(const Best& other) {
    has_nan |= other.has_nan;
    if (other.value < value || (other.value == value && other.index >= index)) return;
    value = other.value;
    index = other.index;
  }
};

// The largest value of a row's candidates, the first of equals, or -1 if one is NaN.
__global__ void BestKernel(Screen screen) {
  using Bests = Best[kThreads];
  SHARED(Bests, bests);
  const int64_t row = blockIdx.x;
  const int32_t count = screen.scored[row];
  Best best{-INFINITY, INT_MAX, 0};
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    const float value = screen.values[row * screen.limit + i];
    if (value != value) {
      best.has_nan = 1;
    } else {
      best.Take({value, screen.candidates[row * screen.limit + i], 0});
    }
  }
  bests[threadIdx.x] = best;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) bests[threadIdx.x].Take(bests[threadIdx.x + half]);
  }
  if (threadIdx.x != 0) return;
  const bool is_none = bests[0].has_nan != 0 || bests[0].index == INT_MAX;
  screen.y[row] = is_none ? -1 : bests[0].index;
}

void RunScreenedArgmax(Session& session, const ScreenedArgmaxArgs& args) {
  const int64_t rows = args.x.shape[0];
  const int64_t in = args.x.shape[1];
  const int64_t limit = args.limit;
  const int64_t chunks = CeilDivide(limit, kChunk);
  auto* scratch = session.Scratch<int32_t>(rows * (2 * limit + chunks));
  const Screen screen{MatrixOf<const float>(args.x),
                      MatrixOf<const float>(args.approx),
                      args.slack.As<const float>(),
                      rows,
                      in,
                      limit,
                      chunks,
                      reinterpret_cast<float*>(scratch + 2 * rows * limit),
                      scratch,
                      reinterpret_cast<float*>(scratch + rows * limit),
                      args.scored.As<int32_t>(),
                      args.y.As<int32_t>()};
  const Shape by_chunk{.blocks_x = BlockCount(rows * chunks), .threads = kThreads};
  Launch(session, BoundKernel, by_chunk, screen);
  Launch(session, SelectKernel, by_chunk, screen);
  WithFloatType(args.weight.dtype, [&](auto type) {
    using T = decltype(type);
    const auto weight = RowsOf<T>(args.weight);
    const int64_t blocks =
        std::min<int64_t>(CeilDivide(limit, Tile::kRowsA), 2 * session.multiprocessors());
    Launch(session, ScoreKernel<T>,
           {.blocks_x = rows == 0 ? 0 : BlockCount(blocks),
            .threads = Tile::kThreads,
            .shared_bytes = FewRowsSharedBytes<Tile>(in, weight.ChainLength())},
           screen, weight, RowsOf<float>(args.x));
  });
  Launch(session, BestKernel, {.blocks_x = BlockCount(rows), .threads = kThreads}, screen);
}

const Operation<ScreenedArgmaxArgs, RunScreenedArgmax> operation("screenedArgmax");

}  // namespace

}  // namespace kernels::cuda

#include <algorithm>

#include "cuda/numbers.h"
#include "cuda/rows.h"
#include "ops/elementwise/elementwise.h"

// Cast and CountNonFinite. A block writes what it counted to scratch memory, one more block adds
// that up: counts are 64 bits wide until they saturate.
namespace kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;

int64_t CountingBlocks(const Session& session, int64_t packs) {
  return std::min<int64_t>(CeilDivide(packs, kThreads), int64_t{session.multiprocessors()} * 8);
}

// counts: [2, blocks], first what became infinite, then what became zero.
template <class X, class Y, int n>
__global__ void CastKernel(const X* x, int64_t packs, Y* y, int64_t* counts) {
  int64_t infinite = 0;
  int64_t vanished = 0;
  for (int64_t at = blockIdx.x * int64_t{kThreads} + threadIdx.x; at < packs;
       at += int64_t{gridDim.x} * kThreads) {
    const auto from = LoadPack<X, n>(x + at * n);
    Pack<Y, n> to;
    for (int i = 0; i < n; ++i) {
      const float value = ToFloat(from.at[i]);
      to.at[i] = Narrow<Y>(value);
      const float back = ToFloat(to.at[i]);
      infinite += !IsFinite(back) && IsFinite(value);
      vanished += back == 0 && value != 0;
    }
    StorePack(y + at * n, to);
  }
  infinite = BlockSum(infinite);
  vanished = BlockSum(vanished);
  if (threadIdx.x != 0) return;
  counts[blockIdx.x] = infinite;
  counts[gridDim.x + blockIdx.x] = vanished;
}

template <class T>
__global__ void CountNonFiniteKernel(Matrix<const T> x, int64_t width, int64_t elements,
                                     int64_t* counts) {
  int64_t found = 0;
  for (int64_t at = blockIdx.x * int64_t{kThreads} + threadIdx.x; at < elements;
       at += int64_t{gridDim.x} * kThreads) {
    found += !IsFinite(ToFloat(x.Row(at / width)[at % width]));
  }
  found = BlockSum(found);
  if (threadIdx.x == 0) counts[blockIdx.x] = found;
}

// total[i] = the sum of counts[i], beside what was there if `adds`; block i has row i.
__global__ void AddCountsKernel(const int64_t* counts, int64_t blocks, bool adds, int32_t* total) {
  int64_t sum = 0;
  for (int64_t at = threadIdx.x; at < blocks; at += kThreads)
    sum += counts[blockIdx.x * blocks + at];
  sum = BlockSum(sum);
  if (threadIdx.x != 0) return;
  if (adds) sum += total[blockIdx.x];
  constexpr int64_t kMost = 0x7fffffff;
  total[blockIdx.x] = static_cast<int32_t>(sum < kMost ? sum : kMost);
}

template <class X, class Y>
void CastTo(Session& session, const CastArgs& args) {
  const auto x = reinterpret_cast<uintptr_t>(args.x.data);
  const auto y = reinterpret_cast<uintptr_t>(args.y.data);
  const int64_t elements = args.x.elements();
  const bool has_packs = elements % 4 == 0 && x % (4 * sizeof(X)) == 0 && y % (4 * sizeof(Y)) == 0;
  WithPacks<4>(has_packs, [&](auto pack) {
    const int64_t packs = elements / pack();
    const int64_t blocks = CountingBlocks(session, packs);
    if (blocks == 0) return;
    int64_t* counts = session.Scratch<int64_t>(2 * blocks);
    Launch(session, CastKernel<X, Y, pack()>, {.blocks_x = BlockCount(blocks), .threads = kThreads},
           args.x.As<const X>(), packs, args.y.As<Y>(), counts);
    Launch(session, AddCountsKernel, {.blocks_x = 2, .threads = kThreads}, counts, blocks, true,
           args.counts.As<int32_t>());
  });
}

void RunCast(Session& session, const CastArgs& args) {
  WithFloatType(args.x.dtype, [&](auto from) {
    WithFloatType(args.y.dtype,
                  [&](auto to) { CastTo<decltype(from), decltype(to)>(session, args); });
  });
}

void RunCountNonFinite(Session& session, const CountNonFiniteArgs& args) {
  const int64_t elements = args.x.elements();
  const int64_t blocks = CountingBlocks(session, elements);
  int64_t* counts = session.Scratch<int64_t>(blocks);
  WithFloatType(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    Launch(session, CountNonFiniteKernel<T>, {.blocks_x = BlockCount(blocks), .threads = kThreads},
           MatrixOf<const T>(args.x), args.x.shape[1], elements, counts);
  });
  Launch(session, AddCountsKernel, {.threads = kThreads}, counts, blocks, false,
         args.count.As<int32_t>());
}

const Operation<CastArgs, RunCast> cast("cast");
const Operation<CountNonFiniteArgs, RunCountNonFinite> count_non_finite("countNonFinite");

}  // namespace

}  // namespace kernels::cuda

#include "cuda/rows.h"
#include "ops/elementwise/cuda_swiglu.h"
#include "ops/elementwise/elementwise.h"

// What has nothing to count: cuda_count.cu has the rest.
namespace kernels::cuda {

namespace {

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

struct Gated {
  __device__ float operator()(float up, float gate) const { return SwigluOf(up, gate); }
};

// y may be a or b: a thread reads what it then writes.
template <class F, int n>
__global__ void CombineKernel(Matrix<const float> a, Matrix<const float> b, int64_t width,
                              Matrix<float> y) {
  const auto [row, column] = FirstElement<n>(width);
  if (column >= width) return;
  const auto left = LoadPack<float, n>(a.Row(row) + column);
  const auto right = LoadPack<float, n>(b.Row(row) + column);
  Pack<float, n> result;
  for (int i = 0; i < n; ++i) result.at[i] = F{}(left.at[i], right.at[i]);
  StorePack(y.Row(row) + column, result);
}

template <class F>
void Combine(Session& session, const Tensor& a, const Tensor& b, const Tensor& y) {
  WithPacks<4>(HasPacks(a, 4) && HasPacks(b, 4) && HasPacks(y, 4), [&](auto pack) {
    Launch(session, CombineKernel<F, pack()>, RowParts(a.shape[0], a.shape[1], pack()),
           MatrixOf<const float>(a), MatrixOf<const float>(b), a.shape[1], MatrixOf<float>(y));
  });
}

void RunAdd(Session& session, const AddArgs& args) {
  Combine<Sum>(session, args.a, args.b, args.y);
}

void RunSwiglu(Session& session, const SwigluArgs& args) {
  Combine<Gated>(session, args.up, args.gate, args.y);
}

template <class Word>
__global__ void CopyKernel(Matrix<const Word> x, int64_t width, Matrix<Word> y) {
  const auto [row, column] = FirstElement<1>(width);
  if (column < width) y.Row(row)[column] = x.Row(row)[column];
}

void RunCopy(Session& session, const CopyArgs& args) {
  const WordRows x = WordRowsOf(args.x);
  const WordRows y = WordRowsOf(args.y);
  WithWord(x, y, [&](auto type) {
    using Word = decltype(type);
    const int64_t width = x.width / static_cast<int64_t>(sizeof(Word));
    Launch(session, CopyKernel<Word>, RowParts(args.x.shape[0], width, 1),
           MatrixOfWords<const Word>(x), width, MatrixOfWords<Word>(y));
  });
}

const Operation<AddArgs, RunAdd> add("add");
const Operation<SwigluArgs, RunSwiglu> swiglu("swiglu");
const Operation<CopyArgs, RunCopy> copy("copy");

}  // namespace

}  // namespace kernels::cuda

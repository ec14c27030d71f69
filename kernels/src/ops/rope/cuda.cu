#include "cuda/rows.h"
#include "ops/rope/cuda_rope.h"
#include "ops/rope/rope.h"

// A thread has an angle of the table, or an angle's pairs in a row of x.
namespace kernels::cuda {

namespace {

const int32_t kRowSequence = RegisterFault("ropeTable: row_sequence");

__global__ void RopeTableKernel(const int32_t* positions, const int32_t* row_sequence,
                                const float* base, int64_t sequences, FaultSink faults,
                                int64_t half, Matrix<float> table) {
  const auto [row, j] = FirstElement<1>(half);
  if (j >= half) return;
  const int64_t sequence = row_sequence[row];
  if (sequence < 0 || sequence >= sequences) {
    if (j == 0) faults.Report(row, sequence, 0, sequences);
    return;
  }
  const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(2 * half);
  const float frequency = static_cast<float>(pow(double{base[sequence]}, exponent));
  // The angle is rounded to f32 because that is what the models were trained with.
  const float angle = static_cast<float>(positions[row]) * frequency;
  float* to = table.Row(row);
  to[j] = static_cast<float>(cos(double{angle}));
  to[half + j] = static_cast<float>(sin(double{angle}));
}

template <int n>
__global__ void RopeKernel(Matrix<float> x, Matrix<const float> table, int64_t half,
                           int64_t pairs) {
  const auto [row, first] = FirstElement<n>(pairs);
  if (first >= pairs) return;
  const int64_t j = first % half;
  RotatePairs<n>(x.Row(row) + first / half * 2 * half + j, table.Row(row) + j, half);
}

void RunRopeTable(Session& session, const RopeTableArgs& args) {
  const int64_t half = args.table.shape[1] / 2;
  Launch(session, RopeTableKernel, RowParts(args.positions.shape[0], half, 1),
         args.positions.As<const int32_t>(), args.row_sequence.As<const int32_t>(),
         args.base.As<const float>(), args.base.shape[0], FaultSink{session.faults(), kRowSequence},
         half, MatrixOf<float>(args.table));
}

void RunRope(Session& session, const RopeArgs& args) {
  const int64_t half = args.table.shape[1] / 2;
  const int64_t pairs = args.x.shape[1] / 2;
  const bool has_packs = half % 4 == 0 && HasPacks(args.x, 4) && HasPacks(args.table, 4);
  WithPacks<4>(has_packs, [&](auto pack) {
    Launch(session, RopeKernel<pack()>, RowParts(args.x.shape[0], pairs, pack()),
           MatrixOf<float>(args.x), MatrixOf<const float>(args.table), half, pairs);
  });
}

const Operation<RopeTableArgs, RunRopeTable> rope_table("ropeTable");
const Operation<RopeArgs, RunRope> rope("rope");

}  // namespace

}  // namespace kernels::cuda

#include "ops/refine/cuda_block.h"

// Coordinate descent on a block of at most 128 columns.
namespace kernels::cuda {

namespace {

struct BlockMemory {
  float hessian[kBlockColumns][kBlockColumns];
  float steps[kBlockRows][kRowStride];  // code - zero
  float scale[kBlockRows][kRowStride];  // of every column
  float zero[kBlockRows][kRowStride];
  float residual[kBlockRows][kRowStride];  // before a scale moves, and at the end
  float product[kBlockRows][kRowStride];
  GroupStarts starts;
};

// Each warp its own rows.
template <class F>
__device__ __forceinline__ void ForEachOfWarp(const RefineColumns& all, F f) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int i = warp * kRowsPerWarp; i < (warp + 1) * kRowsPerWarp; ++i) {
    const int64_t row = int64_t{blockIdx.x} * kBlockRows + i;
    for (int j = lane; j < all.groups.columns; j += kWarpSize) f(i, row, j);
  }
}

// Rows past the last are such that nothing happens to them.
__device__ void ReadRows(const RefineColumns& all, BlockMemory& memory) {
  ForEachOfWarp(all, [&](int i, int64_t row, int j) {
    const bool exists = row < all.rows;
    const float zero = exists ? all.Zero(row, j) : 0.0f;
    memory.residual[i][j] = exists ? all.residual.Row(row)[j] : 0.0f;
    memory.scale[i][j] = exists ? all.Scale(row, j) : 1.0f;
    memory.zero[i][j] = zero;
    memory.steps[i][j] = exists ? static_cast<float>(all.codes.Row(row)[j]) - zero : 0.0f;
  });
}

__device__ void WriteRows(const RefineColumns& all, const BlockMemory& memory) {
  ForEachOfWarp(all, [&](int i, int64_t row, int j) {
    if (row >= all.rows) return;
    const float scale = memory.scale[i][j];
    all.Write(row, j, scale, memory.steps[i][j], memory.zero[i][j], memory.residual[i][j]);
    if (all.refines_scales && IsStart(memory.starts, j)) {
      all.scales.Row(row)[all.groups.group[j]] = scale;
    }
  });
}

// A row in the hands of its lanes.
struct Row {
  const RefineColumns& all;
  BlockMemory& memory;
  int at;    // among the block's rows
  int lane;  // of the row's
  int columns;
  float residual[kQuads][4];

  // A lane's four columns of every 32, in shared memory.
  template <class F>
  __device__ __forceinline__ void ForEachQuad(float* row, F f) const {
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      if (quad * kWarpSize >= columns) break;
      f(quad, *reinterpret_cast<float4*>(row + quad * kWarpSize + lane * 4));
    }
  }

  __device__ __forceinline__ void Read() {
    ForEachQuad(memory.residual[at], [&](int quad, const float4& four) {
      residual[quad][0] = four.x;
      residual[quad][1] = four.y;
      residual[quad][2] = four.z;
      residual[quad][3] = four.w;
    });
  }

  __device__ __forceinline__ void Keep(const float (&values)[kQuads][4],
                                       float (&row)[kRowStride]) const {
    ForEachQuad(row, [&](int quad, float4& four) {
      four = {values[quad][0], values[quad][1], values[quad][2], values[quad][3]};
    });
  }

  // values += factor row of the Hessian.
  __device__ __forceinline__ void AddHessian(float (&values)[kQuads][4], float factor,
                                             int row) const {
    ForEachQuad(memory.hessian[row], [&](int quad, const float4& h) {
      values[quad][0] = __fmaf_rn(factor, h.x, values[quad][0]);
      values[quad][1] = __fmaf_rn(factor, h.y, values[quad][1]);
      values[quad][2] = __fmaf_rn(factor, h.z, values[quad][2]);
      values[quad][3] = __fmaf_rn(factor, h.w, values[quad][3]);
    });
  }

  __device__ __forceinline__ void RefineScale(int begin, int end) {
    const float* steps = memory.steps[at];
    Keep(residual, memory.residual[at]);
    __syncwarp();
    float product[kQuads][4] = {};
    float gradient = 0.0f;
    for (int i = begin; i < end; ++i) {
      gradient = __fmaf_rn(steps[i], memory.residual[at][i], gradient);
      AddHessian(product, steps[i], i);
    }
    Keep(product, memory.product[at]);
    __syncwarp();
    float curvature = 0.0f;
    for (int i = begin; i < end; ++i) {
      curvature = __fmaf_rn(steps[i], memory.product[at][i], curvature);
    }
    const float scale = memory.scale[at][begin];
    const float better = BetterScale(scale, gradient, curvature, all.scale_dtype);
    const float change = better - scale;
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        residual[quad][i] = __fmaf_rn(-change, product[quad][i], residual[quad][i]);
    }
    // All have read the scale, the products and the residuals.
    __syncwarp();
    for (int i = begin + lane; i < end; i += kRowLanes) memory.scale[at][i] = better;
  }

  __device__ __forceinline__ void RefineScales() {
    for (int begin = 0; begin < columns;) {
      const int end = RunEnd(memory.starts, begin, columns);
      RefineScale(begin, end);
      begin = end;
    }
    __syncwarp();
  }

  // Of the steps only the owner's are read or written here.
  __device__ __forceinline__ void RefineCode(const float (&mine)[4], int column, float max_code) {
    const int owner = column % kWarpSize / 4;
    const Grid grid = {memory.scale[at][column], memory.zero[at][column]};
    const float before = FromOwner(lane == owner ? memory.steps[at][column] : 0.0f, owner);
    const float x = FromOwner(PickOfFour(mine, column % 4), owner);
    const Step after = BetterStep(before, grid, x, memory.hessian[column][column], max_code);
    if (lane == owner) memory.steps[at][column] = after.step;
    if (after.change != 0.0f) AddHessian(residual, -after.change, column);
  }

  __device__ __forceinline__ void RefineCodes() {
    const float max_code = MaxCode(all.bits);
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      const int first = quad * kWarpSize;
      const int last = first + kWarpSize < columns ? first + kWarpSize : columns;
      for (int column = first; column < last; ++column) {
        RefineCode(residual[quad], column, max_code);
      }
    }
  }
};

__global__ void __launch_bounds__(kBlockThreads, 2)
    RefineBlockKernel(RefineColumns all, RefineFaults faults) {
  DYNAMIC_SHARED(BlockMemory, memory);
  // Every warp finds the same.
  if (!all.Check(faults)) return;
  const int columns = static_cast<int>(all.groups.columns);
  CopySquare(all.hessian, columns, false, memory->hessian);
  if (threadIdx.x < kWarpSize) FindStarts(all.groups, memory->starts);
  ReadRows(all, *memory);
  WaitCopies<0>();
  __syncthreads();
  Row row{all,
          *memory,
          static_cast<int>(threadIdx.x) / kRowLanes,
          static_cast<int>(threadIdx.x) % kRowLanes,
          columns,
          {}};
  row.Read();
  for (int sweep = 0; sweep < all.sweeps; ++sweep) {
    if (all.refines_scales) row.RefineScales();
    if (all.refines_codes) row.RefineCodes();
  }
  row.Keep(row.residual, memory->residual[row.at]);
  __syncwarp();
  WriteRows(all, *memory);
}

const int32_t kGroupFault = RegisterFault("refineBlock: columnGroup");
const int32_t kCutFault = RegisterFault("refineBlock: columns of a group whose scale is to change");

void RunRefineBlock(Session& session, const RefineBlockArgs& args) {
  if (args.begin == args.end) return;
  const auto from = [&](auto matrix, int64_t row) {
    matrix.data += row * matrix.stride + args.begin;
    return matrix;
  };
  const RefineColumns block = {args.w.shape[0],
                               args.w.shape[1],
                               {args.column_group.As<const int32_t>() + args.begin, args.begin,
                                args.end - args.begin, args.scales.shape[1]},
                               from(MatrixOf<float>(args.w), 0),
                               from(MatrixOf<const float>(args.residual), 0),
                               from(MatrixOf<const float>(args.hessian), args.begin),
                               args.bits,
                               args.scale_dtype,
                               args.sweeps,
                               args.refines_scales,
                               args.refines_codes,
                               MatrixOf<float>(args.scales),
                               MatrixOf<const int32_t>(args.zeros),
                               from(MatrixOf<uint8_t>(args.codes), 0),
                               MatrixOf<float>(args.change)};
  const RefineFaults faults = {{session.faults(), kGroupFault}, {session.faults(), kCutFault}};
  if (block.groups.columns > kBlockColumns) return RunWideRefineBlock(session, block, faults);
  Launch(session, RefineBlockKernel,
         {.blocks_x = BlockCount(CeilDivide(block.rows, kBlockRows)),
          .threads = kBlockThreads,
          .shared_bytes = sizeof(BlockMemory)},
         block, faults);
}

const Operation<RefineBlockArgs, RunRefineBlock> operation("refineBlock");

}  // namespace

}  // namespace kernels::cuda

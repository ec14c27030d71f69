#include "cuda/launch.h"
#include "ops/packing/cuda_tile.h"
#include "ops/packing/packing.h"

namespace kernels::cuda {

namespace {

const int32_t group_index_fault = RegisterFault("dequantize: group_index");

constexpr int32_t kNoGroup = -1;
using TileGroups = int32_t[kTileInputs];

// The group of each input: what is stored, or else its place.
struct GroupSource {
  const int32_t* index;  // or null
  int64_t size;
  int64_t groups;
};

// kNoGroup for what is outside the table or the tile.
__device__ void LoadGroups(const TilePlace& place, const GroupSource& source, const FaultSink& sink,
                           TileGroups& groups) {
  for (int i = static_cast<int>(threadIdx.x); i < kTileInputs; i += kPackingThreads) {
    const int64_t input = place.input + i;
    groups[i] = kNoGroup;
    if (input >= place.inputs) continue;
    if (source.index == nullptr) {
      groups[i] = static_cast<int32_t>(input / source.size);
      continue;
    }
    const int32_t group = source.index[input];
    if (group >= 0 && group < source.groups) {
      groups[i] = group;
    } else {
      sink.Report(input, group, 0, source.groups);
    }
  }
}

template <int kBits, class Scale>
struct GroupParameters {
  Matrix<const int32_t> qzeros;
  Matrix<const Scale> scales;
  uint32_t zero_offset;

  __device__ int32_t Zero(int32_t group, int64_t output) const {
    const uint32_t stored = CodeAt(qzeros.Row(group), 1, kBits, output);
    return static_cast<int32_t>((stored + zero_offset) & ((1u << kBits) - 1));
  }
};

// A warp has a row of the tile at a time, a lane four inputs of it.
template <int kBits, class Scale>
__device__ void StoreRows(const TilePlace& place, const CodeTile& tile, const TileGroups& groups,
                          const GroupParameters<kBits, Scale>& parameters, bool aligned,
                          Matrix<float> y) {
  const int first = static_cast<int>(threadIdx.x % kWarpSize) * 4;
  const int64_t input = place.input + first;
  if (input >= place.inputs) return;
  bool is_whole = true;
  for (int i = 0; i < 4; ++i) is_whole = is_whole && groups[first + i] != kNoGroup;
  for (int row = static_cast<int>(threadIdx.x / kWarpSize); row < kTileOutputs;
       row += kPackingThreads / kWarpSize) {
    const int64_t output = place.output + row;
    if (output >= place.outputs) return;
    const uint32_t codes = tile[row][first / 4];
    float values[4];
    int32_t loaded = kNoGroup;
    float scale = 0;
    int32_t zero = 0;
    for (int i = 0; i < 4; ++i) {
      const int32_t group = groups[first + i];
      if (group != loaded && group != kNoGroup) {
        loaded = group;
        scale = ToFloat(parameters.scales.Row(group)[output]);
        zero = parameters.Zero(group, output);
      }
      values[i] = Dequantized(scale, static_cast<int32_t>(codes >> (i * 8) & 0xff), zero);
    }
    float* to = y.Row(output) + input;
    if (aligned && is_whole) {
      *reinterpret_cast<float4*>(to) = {values[0], values[1], values[2], values[3]};
      continue;
    }
    for (int i = 0; i < 4; ++i) {
      if (groups[first + i] != kNoGroup) to[i] = values[i];
    }
  }
}

template <int kBits, class Scale>
__global__ void DequantizeKernel(Matrix<const int32_t> qweight, GroupSource source, FaultSink sink,
                                 GroupParameters<kBits, Scale> parameters, TileGrid grid,
                                 bool aligned, Matrix<float> y) {
  SHARED(CodeTile, tile);
  SHARED(TileGroups, groups);
  const TilePlace place = grid.Here();
  LoadGroups(place, source, sink, groups);
  UnpackTile<kBits>(place, qweight, tile);
  __syncthreads();
  StoreRows(place, tile, groups, parameters, aligned, y);
}

void RunDequantize(Session& session, const DequantizeArgs& args) {
  const TileGrid grid = GridOf(args.y.shape[0], args.y.shape[1]);
  const int32_t* index = args.group_index.empty() ? nullptr : args.group_index.As<const int32_t>();
  const GroupSource source{index, args.group_size, args.scales.shape[0]};
  const FaultSink sink{session.faults(), group_index_fault};
  WithBits(args.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    WithFloatType(args.scales.dtype, [&](auto type) {
      using Scale = decltype(type);
      const GroupParameters<kBits, Scale> parameters{MatrixOf<const int32_t>(args.qzeros),
                                                     MatrixOf<const Scale>(args.scales),
                                                     static_cast<uint32_t>(args.zero_offset)};
      Launch(session, DequantizeKernel<kBits, Scale>, ShapeOf(grid),
             MatrixOf<const int32_t>(args.qweight), source, sink, parameters, grid,
             RowsAreAligned(args.y), MatrixOf<float>(args.y));
    });
  });
}

const Operation<DequantizeArgs, RunDequantize> operation("dequantize");

}  // namespace

}  // namespace kernels::cuda

#include "binding/ops.h"

#include "binding/enqueue.h"
#include "ops/cholesky/cholesky.h"
#include "ops/elementwise/elementwise.h"
#include "ops/embedding/embedding.h"
#include "ops/gather/gather.h"
#include "ops/gptq/gptq.h"
#include "ops/hessian/hessian.h"
#include "ops/linear/linear.h"
#include "ops/linear_gptq/linear_gptq.h"
#include "ops/packing/packing.h"
#include "ops/refine/refine.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"
#include "ops/sampling/sampling.h"
#include "ops/softmax/softmax.h"

namespace kernels::binding {

namespace {

GridOptions ReadGrid(Arguments& in) {
  GridOptions grid;
  grid.bits = static_cast<int>(in.Integer(2, 8));
  grid.symmetric = in.Boolean();
  grid.keeps_positive_range = in.Boolean();
  grid.is_signed = in.Boolean();
  grid.scale_dtype = in.Dtype();
  grid.minimizes_error = in.Boolean();
  return grid;
}

Napi::Value EmbeddingJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckEmbedding, Embedding>(
      info, "embedding", +[](Arguments& in) {
        return EmbeddingArgs{.table = in.Tensor(), .ids = in.Tensor(), .y = in.Output()};
      });
}

Napi::Value RmsNormJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckRmsNorm, RmsNorm>(
      info, "rmsNorm", +[](Arguments& in) {
        return RmsNormArgs{.x = in.Tensor(),
                           .weight = in.Tensor(),
                           .epsilon = in.Float(),
                           .y = in.InPlaceOutput()};
      });
}

Napi::Value LinearJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckLinear, Linear>(
      info, "linear", +[](Arguments& in) {
        return LinearArgs{
            .x = in.Tensor(), .weight = in.Tensor(), .bias = in.OptionalTensor(), .y = in.Output()};
      });
}

Napi::Value LinearGptqJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckLinearGptq, LinearGptq>(
      info, "linearGptq", +[](Arguments& in) {
        return LinearGptqArgs{.x = in.Tensor(),
                              .qweight = in.Tensor(),
                              .qzeros = in.Tensor(),
                              .scales = in.Tensor(),
                              .group_index = in.OptionalTensor(),
                              .bias = in.OptionalTensor(),
                              .bits = static_cast<int>(in.Integer(2, 8)),
                              .zero_offset = static_cast<int>(in.Integer(0, 1)),
                              .group_size = in.Integer(),
                              .y = in.Output()};
      });
}

Napi::Value AccumulateSquaresJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckAccumulateSquares, AccumulateSquares>(
      info, "accumulateSquares", +[](Arguments& in) {
        return AccumulateSquaresArgs{.a = in.Tensor(), .b = in.OptionalTensor(), .y = in.Output()};
      });
}

Napi::Value RopeTableJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckRopeTable, RopeTable>(
      info, "ropeTable", +[](Arguments& in) {
        return RopeTableArgs{.positions = in.Tensor(),
                             .row_sequence = in.Tensor(),
                             .base = in.Tensor(),
                             .table = in.Output()};
      });
}

Napi::Value RopeJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckRope, Rope>(
      info, "rope",
      +[](Arguments& in) { return RopeArgs{.x = in.Output(), .table = in.Tensor()}; });
}

Napi::Value AddJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckAdd, Add>(
      info, "add", +[](Arguments& in) {
        return AddArgs{.a = in.Tensor(), .b = in.Tensor(), .y = in.InPlaceOutput()};
      });
}

Napi::Value SwigluJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckSwiglu, Swiglu>(
      info, "swiglu", +[](Arguments& in) {
        return SwigluArgs{.up = in.Tensor(), .gate = in.Tensor(), .y = in.InPlaceOutput()};
      });
}

Napi::Value CastJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckCast, Cast>(
      info, "cast", +[](Arguments& in) {
        return CastArgs{.x = in.Tensor(), .y = in.Output(), .counts = in.Output()};
      });
}

Napi::Value CopyJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckCopy, Copy>(
      info, "copy", +[](Arguments& in) { return CopyArgs{.x = in.Tensor(), .y = in.Output()}; });
}

Napi::Value CountNonFiniteJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckCountNonFinite, CountNonFinite>(
      info, "countNonFinite",
      +[](Arguments& in) { return CountNonFiniteArgs{.x = in.Tensor(), .count = in.Output()}; });
}

Napi::Value LogSoftmaxJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckLogSoftmax, LogSoftmax>(
      info, "logSoftmax",
      +[](Arguments& in) { return LogSoftmaxArgs{.x = in.Tensor(), .y = in.InPlaceOutput()}; });
}

Napi::Value PickJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckPick, Pick>(
      info, "pick", +[](Arguments& in) {
        return PickArgs{.x = in.Tensor(), .index = in.Tensor(), .y = in.Output()};
      });
}

Napi::Value KlDivergenceJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckKlDivergence, KlDivergence>(
      info, "klDivergence", +[](Arguments& in) {
        return KlDivergenceArgs{.log_p = in.Tensor(), .log_q = in.Tensor(), .y = in.Output()};
      });
}

Napi::Value ArgmaxJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckArgmax, Argmax>(
      info, "argmax", +[](Arguments& in) {
        return ArgmaxArgs{.x = in.Tensor(), .limit = in.Integer(), .y = in.Output()};
      });
}

Napi::Value SampleJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckSample, Sample>(
      info, "sample", +[](Arguments& in) {
        return SampleArgs{.logits = in.Tensor(),
                          .limit = in.Integer(),
                          .options = in.Tensor(),
                          .seen_begin = in.Tensor(),
                          .seen_ids = in.Tensor(),
                          .seen_times = in.Tensor(),
                          .y = in.Output()};
      });
}

Napi::Value GatherRowsJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckGatherRows, GatherRows>(
      info, "gatherRows", +[](Arguments& in) {
        return GatherRowsArgs{.x = in.Tensor(), .index = in.Tensor(), .y = in.Output()};
      });
}

Napi::Value GatherColumnsJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckGatherColumns, GatherColumns>(
      info, "gatherColumns", +[](Arguments& in) {
        return GatherColumnsArgs{.x = in.Tensor(), .index = in.Tensor(), .y = in.Output()};
      });
}

Napi::Value ZeroColumnsJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckZeroColumns, ZeroColumns>(
      info, "zeroColumns",
      +[](Arguments& in) { return ZeroColumnsArgs{.w = in.Output(), .diagonal = in.Tensor()}; });
}

Napi::Value AccumulateGramJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckAccumulateGram, AccumulateGram>(
      info, "accumulateGram", +[](Arguments& in) {
        return AccumulateGramArgs{
            .x = in.Tensor(), .gram = in.Output(), .rounds_to_bf16 = in.Boolean()};
      });
}

Napi::Value FinishHessianJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckFinishHessian, FinishHessian>(
      info, "finishHessian", +[](Arguments& in) {
        return FinishHessianArgs{.gram = in.Output(), .scale = in.Float(), .diagonal = in.Output()};
      });
}

Napi::Value AccumulateCrossJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckAccumulateCross, AccumulateCross>(
      info, "accumulateCross", +[](Arguments& in) {
        return AccumulateCrossArgs{.x = in.Tensor(),
                                   .original = in.Tensor(),
                                   .inputs = in.Tensor(),
                                   .cross = in.Output(),
                                   .rounds_to_bf16 = in.Boolean()};
      });
}

Napi::Value ScaleAndShiftJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckScaleAndShift, ScaleAndShift>(
      info, "scaleAndShift", +[](Arguments& in) {
        return ScaleAndShiftArgs{.matrix = in.Output(), .scale = in.Float(), .shift = in.Float()};
      });
}

Napi::Value ResidualJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckResidual, Residual>(
      info, "residual", +[](Arguments& in) {
        return ResidualArgs{.target = in.Tensor(),
                            .w = in.Tensor(),
                            .hessian = in.Tensor(),
                            .residual = in.Output()};
      });
}

Napi::Value RefineBlockJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckRefineBlock, RefineBlock>(
      info, "refineBlock", +[](Arguments& in) {
        return RefineBlockArgs{.w = in.Output(),
                               .residual = in.Tensor(),
                               .hessian = in.Tensor(),
                               .begin = in.Integer(),
                               .end = in.Integer(),
                               .column_group = in.Tensor(),
                               .bits = static_cast<int>(in.Integer(2, 8)),
                               .scale_dtype = in.Dtype(),
                               .sweeps = static_cast<int>(in.Integer(0, 1000)),
                               .refines_scales = in.Boolean(),
                               .refines_codes = in.Boolean(),
                               .scales = in.Output(),
                               .zeros = in.Tensor(),
                               .codes = in.Output(),
                               .change = in.Output()};
      });
}

Napi::Value AccumulateProductJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckAccumulateProduct, AccumulateProduct>(
      info, "accumulateProduct", +[](Arguments& in) {
        return AccumulateProductArgs{
            .a = in.Tensor(), .b = in.Tensor(), .subtracts = in.Boolean(), .c = in.Output()};
      });
}

Napi::Value InverseCholeskyJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckInverseCholesky, InverseCholesky>(
      info, "inverseCholesky", +[](Arguments& in) {
        return InverseCholeskyArgs{.hessian = in.Tensor(),
                                   .damping = in.Float(),
                                   .factor = in.Output(),
                                   .status = in.Output()};
      });
}

Napi::Value FindGridJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckFindGrid, FindGrid>(
      info, "findGrid", +[](Arguments& in) {
        return FindGridArgs{.w = in.Tensor(),
                            .grid = ReadGrid(in),
                            .group_size = in.Integer(),
                            .importance = in.OptionalTensor(),
                            .scales = in.Output(),
                            .zeros = in.Output()};
      });
}

Napi::Value RoundToGridJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckRoundToGrid, RoundToGrid>(
      info, "roundToGrid", +[](Arguments& in) {
        return RoundToGridArgs{.w = in.Output(),
                               .column_group = in.Tensor(),
                               .bits = static_cast<int>(in.Integer(2, 8)),
                               .scales = in.Tensor(),
                               .zeros = in.Tensor(),
                               .codes = in.Output()};
      });
}

Napi::Value GptqBlockJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckGptqBlock, GptqBlock>(
      info, "gptqBlock", +[](Arguments& in) {
        return GptqBlockArgs{.w = in.Output(),
                             .factor = in.Tensor(),
                             .begin = in.Integer(),
                             .end = in.Integer(),
                             .column_group = in.Tensor(),
                             .grid = ReadGrid(in),
                             .range = static_cast<RangeSource>(in.Integer(0, 2)),
                             .importance = in.OptionalTensor(),
                             .scales = in.Output(),
                             .zeros = in.Output(),
                             .codes = in.Output(),
                             .error = in.Output()};
      });
}

Napi::Value TrailingUpdateJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckTrailingUpdate, TrailingUpdate>(
      info, "trailingUpdate", +[](Arguments& in) {
        return TrailingUpdateArgs{
            .w = in.Output(), .error = in.Tensor(), .factor = in.Tensor(), .begin = in.Integer()};
      });
}

Napi::Value QuadraticFormJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckQuadraticForm, QuadraticForm>(
      info, "quadraticForm", +[](Arguments& in) {
        return QuadraticFormArgs{
            .a = in.Tensor(), .b = in.OptionalTensor(), .hessian = in.Tensor(), .y = in.Output()};
      });
}

Napi::Value PackWeightJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckPackWeight, PackWeight>(
      info, "packWeight", +[](Arguments& in) {
        return PackWeightArgs{.codes = in.Tensor(),
                              .bits = static_cast<int>(in.Integer(2, 8)),
                              .qweight = in.Output()};
      });
}

Napi::Value UnpackWeightJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckUnpackWeight, UnpackWeight>(
      info, "unpackWeight", +[](Arguments& in) {
        return UnpackWeightArgs{.qweight = in.Tensor(),
                                .bits = static_cast<int>(in.Integer(2, 8)),
                                .codes = in.Output()};
      });
}

Napi::Value PackZerosJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckPackZeros, PackZeros>(
      info, "packZeros", +[](Arguments& in) {
        return PackZerosArgs{.zeros = in.Tensor(),
                             .bits = static_cast<int>(in.Integer(2, 8)),
                             .zero_offset = static_cast<int>(in.Integer(0, 1)),
                             .qzeros = in.Output()};
      });
}

Napi::Value UnpackZerosJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckUnpackZeros, UnpackZeros>(
      info, "unpackZeros", +[](Arguments& in) {
        return UnpackZerosArgs{.qzeros = in.Tensor(),
                               .bits = static_cast<int>(in.Integer(2, 8)),
                               .zero_offset = static_cast<int>(in.Integer(0, 1)),
                               .zeros = in.Output()};
      });
}

Napi::Value TransposeJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckTranspose, Transpose>(
      info, "transpose",
      +[](Arguments& in) { return TransposeArgs{.x = in.Tensor(), .y = in.Output()}; });
}

Napi::Value DequantizeJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckDequantize, Dequantize>(
      info, "dequantize", +[](Arguments& in) {
        return DequantizeArgs{.qweight = in.Tensor(),
                              .qzeros = in.Tensor(),
                              .scales = in.Tensor(),
                              .group_index = in.OptionalTensor(),
                              .bits = static_cast<int>(in.Integer(2, 8)),
                              .zero_offset = static_cast<int>(in.Integer(0, 1)),
                              .group_size = in.Integer(),
                              .y = in.Output()};
      });
}

}  // namespace

void RegisterOps(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("embedding", EmbeddingJs);
  add("rmsNorm", RmsNormJs);
  add("linear", LinearJs);
  add("linearGptq", LinearGptqJs);
  add("ropeTable", RopeTableJs);
  add("rope", RopeJs);
  add("add", AddJs);
  add("swiglu", SwigluJs);
  add("cast", CastJs);
  add("copy", CopyJs);
  add("countNonFinite", CountNonFiniteJs);
  add("logSoftmax", LogSoftmaxJs);
  add("pick", PickJs);
  add("klDivergence", KlDivergenceJs);
  add("argmax", ArgmaxJs);
  add("sample", SampleJs);
  add("gatherRows", GatherRowsJs);
  add("gatherColumns", GatherColumnsJs);
  add("zeroColumns", ZeroColumnsJs);
  add("accumulateGram", AccumulateGramJs);
  add("finishHessian", FinishHessianJs);
  add("accumulateCross", AccumulateCrossJs);
  add("scaleAndShift", ScaleAndShiftJs);
  add("inverseCholesky", InverseCholeskyJs);
  add("findGrid", FindGridJs);
  add("roundToGrid", RoundToGridJs);
  add("gptqBlock", GptqBlockJs);
  add("trailingUpdate", TrailingUpdateJs);
  add("quadraticForm", QuadraticFormJs);
  add("accumulateSquares", AccumulateSquaresJs);
  add("residual", ResidualJs);
  add("refineBlock", RefineBlockJs);
  add("accumulateProduct", AccumulateProductJs);
  add("packWeight", PackWeightJs);
  add("unpackWeight", UnpackWeightJs);
  add("packZeros", PackZerosJs);
  add("unpackZeros", UnpackZerosJs);
  add("transpose", TransposeJs);
  add("dequantize", DequantizeJs);
}

}  // namespace kernels::binding

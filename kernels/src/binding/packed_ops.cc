#include "binding/packed_ops.h"

#include "binding/enqueue.h"
#include "ops/head_screen/head_screen.h"
#include "ops/packed_linear/packed_linear.h"
#include "ops/peak/peak.h"

namespace kernels::binding {

namespace {

PackedWeight ReadPacked(Arguments& in, kernels::Tensor (Arguments::*next)(),
                        kernels::Tensor (Arguments::*optional)()) {
  return {.words = (in.*next)(),
          .scales = (in.*next)(),
          .zeros = (in.*optional)(),
          .zero = static_cast<int>(in.Integer(0, 255)),
          .bits = static_cast<int>(in.Integer(2, 8)),
          .block_size = in.Integer()};
}

Napi::Value PackLinearJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckPackLinear, PackLinear>(
      info, "packLinear", +[](Arguments& in) {
        return PackLinearArgs{
            .qweight = in.Tensor(),
            .qzeros = in.Tensor(),
            .scales = in.Tensor(),
            .order = in.OptionalTensor(),
            .block_group = in.Tensor(),
            .stored_bits = static_cast<int>(in.Integer(2, 8)),
            .zero_offset = static_cast<int>(in.Integer(0, 1)),
            .packed = ReadPacked(in, &Arguments::Output, &Arguments::OptionalOutput)};
      });
}

LinearInput ReadInput(Arguments& in) {
  return {.x = in.Tensor(),
          .order = in.OptionalTensor(),
          .norm = in.OptionalTensor(),
          .epsilon = in.Float(),
          .activation_bits = static_cast<int>(in.Integer(8, 16))};
}

BiasedWeight ReadBiased(Arguments& in) {
  return {.weight = ReadPacked(in, &Arguments::Tensor, &Arguments::OptionalTensor),
          .bias = in.OptionalTensor()};
}

Napi::Value QuantizedLinearJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckQuantizedLinear, QuantizedLinear>(
      info, "quantizedLinear", +[](Arguments& in) {
        return QuantizedLinearArgs{.input = ReadInput(in),
                                   .linear = ReadBiased(in),
                                   .residual = in.OptionalTensor(),
                                   .y = in.Output()};
      });
}

Napi::Value GatedLinearJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckGatedLinear, GatedLinear>(
      info, "gatedLinear", +[](Arguments& in) {
        return GatedLinearArgs{.input = ReadInput(in),
                               .up = ReadBiased(in),
                               .gate = ReadBiased(in),
                               .scratch = in.Output(),
                               .y = in.Output()};
      });
}

Napi::Value PackRowsJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckPackRows, PackRows>(
      info, "packRows", +[](Arguments& in) {
        return PackRowsArgs{
            .weight = in.Tensor(),
            .packed = ReadPacked(in, &Arguments::Output, &Arguments::OptionalOutput),
            .slack = in.Output()};
      });
}

Napi::Value ScreenedArgmaxJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckScreenedArgmax, ScreenedArgmax>(
      info, "screenedArgmax", +[](Arguments& in) {
        return ScreenedArgmaxArgs{.x = in.Tensor(),
                                  .approx = in.Tensor(),
                                  .weight = in.Tensor(),
                                  .slack = in.Tensor(),
                                  .limit = in.Integer(),
                                  .y = in.Output(),
                                  .scored = in.Output()};
      });
}

Napi::Value ReadAllJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckReadAll, ReadAll>(
      info, "readAll", +[](Arguments& in) {
        return ReadAllArgs{.x = in.Tensor(), .pieces = in.Integer(), .y = in.Output()};
      });
}

Napi::Value ArithmeticPeakJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckArithmeticPeak, ArithmeticPeak>(
      info, "arithmeticPeak", +[](Arguments& in) {
        return ArithmeticPeakArgs{.kind = static_cast<PeakKind>(in.Integer(0, 3)),
                                  .repeats = in.Integer(),
                                  .y = in.Output()};
      });
}

}  // namespace

void RegisterPackedOps(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("packLinear", PackLinearJs);
  add("quantizedLinear", QuantizedLinearJs);
  add("gatedLinear", GatedLinearJs);
  add("packRows", PackRowsJs);
  add("screenedArgmax", ScreenedArgmaxJs);
  add("readAll", ReadAllJs);
  add("arithmeticPeak", ArithmeticPeakJs);
}

}  // namespace kernels::binding

#include "binding/cache_ops.h"

#include "binding/enqueue.h"
#include "ops/attention/attention.h"
#include "ops/cache_quantization/cache_quantization.h"

namespace kernels::binding {

namespace {

Napi::Value StoreCacheJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckStoreCache, StoreCache>(
      info, "storeCache", +[](Arguments& in) {
        return StoreCacheArgs{.k = in.Tensor(),
                              .v = in.Tensor(),
                              .positions = in.Tensor(),
                              .row_sequence = in.Tensor(),
                              .block_table = in.Tensor(),
                              .k_cache = in.Output(),
                              .v_cache = in.Output(),
                              .k_grids = in.OptionalOutput(),
                              .v_grids = in.OptionalOutput()};
      });
}

Napi::Value RopeStoreCacheJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckRopeStoreCache, RopeStoreCache>(
      info, "ropeStoreCache", +[](Arguments& in) {
        return RopeStoreCacheArgs{.qkv = in.Output(),
                                  .table = in.Tensor(),
                                  .positions = in.Tensor(),
                                  .row_sequence = in.Tensor(),
                                  .block_table = in.Tensor(),
                                  .k_cache = in.Output(),
                                  .v_cache = in.Output(),
                                  .k_grids = in.OptionalOutput(),
                                  .v_grids = in.OptionalOutput()};
      });
}

Napi::Value AttentionJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckAttention, Attention>(
      info, "attention", +[](Arguments& in) {
        return AttentionArgs{.q = in.Tensor(),
                             .k_cache = in.Tensor(),
                             .v_cache = in.Tensor(),
                             .k_grids = in.OptionalTensor(),
                             .v_grids = in.OptionalTensor(),
                             .positions = in.Tensor(),
                             .row_sequence = in.Tensor(),
                             .block_table = in.Tensor(),
                             .query_scale = in.Tensor(),
                             .y = in.Output()};
      });
}

Napi::Value QuantizeCacheJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckQuantizeCache, QuantizeCache>(
      info, "quantizeCache", +[](Arguments& in) {
        return QuantizeCacheArgs{.x = in.Tensor(),
                                 .form = in.Boolean() ? CacheForm::kCall : CacheForm::kToken,
                                 .codes = in.Output(),
                                 .scale = in.Output(),
                                 .zero = in.Output()};
      });
}

Napi::Value DequantizeCacheJs(const Napi::CallbackInfo& info) {
  return Enqueue<CheckDequantizeCache, DequantizeCache>(
      info, "dequantizeCache", +[](Arguments& in) {
        return DequantizeCacheArgs{
            .codes = in.Tensor(), .scale = in.Tensor(), .zero = in.Tensor(), .y = in.Output()};
      });
}

}  // namespace

void RegisterCacheOps(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("storeCache", StoreCacheJs);
  add("ropeStoreCache", RopeStoreCacheJs);
  add("attention", AttentionJs);
  add("quantizeCache", QuantizeCacheJs);
  add("dequantizeCache", DequantizeCacheJs);
}

}  // namespace kernels::binding

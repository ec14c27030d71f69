#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// What keys and values of an 8-bit cache are rounded to, beside the cache: value = scale * (code -
// zero), for each row and head.
enum class CacheForm {
  kToken,  // a grid for each row, as StoreCache has it; to the nearest code
  kCall,   // one grid for all rows of a head, and codes cut off: Qwen's original
};

struct QuantizeCacheArgs {
  Tensor x;  // [rows, heads * dim] f32
  CacheForm form;
  Tensor codes;  // [rows, heads * dim] u8, dense, out
  Tensor scale;  // [rows, heads] f32, dense, out
  Tensor zero;   // the same
};
void CheckQuantizeCache(const QuantizeCacheArgs& args);
void QuantizeCache(const Context& context, const QuantizeCacheArgs& args);

struct DequantizeCacheArgs {
  Tensor codes;  // [rows, heads * dim] u8
  Tensor scale;  // [rows, heads] f32
  Tensor zero;   // the same
  Tensor y;      // [rows, heads * dim] f32, dense, out
};
void CheckDequantizeCache(const DequantizeCacheArgs& args);
void DequantizeCache(const Context& context, const DequantizeCacheArgs& args);

}  // namespace kernels

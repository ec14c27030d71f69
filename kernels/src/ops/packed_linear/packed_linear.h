#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// Outputs of a weight that are stored together: a vector of 32-bit words has a lane for each.
constexpr int64_t kPackedOutputs = 16;
// More inputs in a block could overflow the 32-bit sums of its products.
constexpr int64_t kLargestPackedBlock = 128;

// A weight as the products below read it (README.md). Its inputs lie in places: blocks of
// block_size, each of inputs of one group.
struct PackedWeight {
  // [output blocks, blocks * block_size * bits / 32, 16] i32: word w holds the codes of places
  // [w * 32 / bits, ...), lowest bits first, as qweight does.
  Tensor words;
  Tensor scales;  // [output blocks, blocks, 16] f16 | bf16 | f32
  Tensor zeros;   // [output blocks, blocks, 16] u8; empty: every zero is `zero`
  int zero;
  int bits;            // 4 | 8
  int64_t block_size;  // a multiple of 8, at most 128

  int64_t OutputBlocks() const { return words.shape[0]; }
  int64_t Blocks() const { return scales.shape[1]; }
  int64_t BlockWords() const { return block_size * bits / 32; }
};

// Fills a PackedWeight from tensors of the GPTQ layout (fields as in LinearGptqArgs). Outputs and
// places beyond the weight's get codes, scales and zeros of 0.
struct PackLinearArgs {
  Tensor qweight;       // [in * stored_bits / 32, out] i32
  Tensor qzeros;        // [groups, out * stored_bits / 32] i32
  Tensor scales;        // [groups, out] f16 | bf16 | f32
  Tensor order;         // [places] i32: the input at each place or -1; empty: place i holds input i
  Tensor block_group;   // [blocks] i32: the group of each block
  int stored_bits;      // 2, 3, 4 or 8; 2 and 3 are packed as 4
  int zero_offset;      // 1 for the v1 layout, 0 for gptq_v2
  PackedWeight packed;  // out
};
void CheckPackLinear(const PackLinearArgs& args);
void PackLinear(const Context& context, const PackLinearArgs& args);

// The largest code of 16 bits: 127 * 256 + 127, so that both halves of a code fit signed bytes.
constexpr int32_t kLargestWideCode = 32639;
constexpr int32_t kLargestNarrowCode = 127;

// How activations lie in words, in the order in which a weight's codes come out of its words.
enum class CodeForm : uint8_t {
  // Pairs of 16 bits: places (0, 4) (1, 5) (2, 6) (3, 7) of a word for 4 bits, (0, 2) (1, 3) for 8.
  kPairs,
  // Four bytes: (0, 2, 4, 6) (1, 3, 5, 7) for 4 bits, (0, 1, 2, 3) for 8. Codes of 8 bits only.
  kBytes,
  // The same fours of the lower halves of 16-bit codes, each followed by those of the upper: code =
  // 256 * upper + lower, both signed.
  kHalves,
};

// Rows of activations as integers with a scale per block of places: x = code * scale, code =
// round(x / max|x| * largest code) over the block, to even. A block that holds NaN or an infinity
// has scale NaN.
struct QuantizedActivations {
  Tensor codes;   // [rows, at least blocks * block_size / 2] i32, half of them for kBytes
  Tensor scales;  // [rows, blocks] f32
  Tensor sums;    // [rows, blocks] i32: of the codes
  CodeForm form = CodeForm::kPairs;
};

struct QuantizeActivationsArgs {
  Tensor x;      // [rows, in] f32
  Tensor order;  // [places] i32 as above, or empty
  int bits;      // of the weight that is to be multiplied
  int64_t block_size;
  QuantizedActivations y;  // out
  int32_t largest;         // code of a block's largest magnitude
};
void QuantizeActivations(const Context& context, const QuantizeActivationsArgs& args);

// y = x W^T + bias + residual. A block's products are summed exactly in integers; from there an
// element of y is one chain of fused multiply-adds over the blocks in order, y = fma(sum, scale_w *
// scale_x, y) from 0, then + bias, then + residual: the same bits on every instruction set, for any
// number of rows and threads.
struct PackedLinearArgs {
  QuantizedActivations x;
  PackedWeight weight;
  Tensor bias;      // [out] f32 | f16 | bf16, or empty
  Tensor residual;  // [rows, out] f32, or empty
  Tensor y;         // [rows, out] f32, out
};
void PackedLinear(const Context& context, const PackedLinearArgs& args);

// Rows that are to be normalised, where there is a norm, rounded and multiplied. With 8 bits, codes
// are 256 times coarser and products up to twice as fast; results are exact sums all the same.
struct LinearInput {
  Tensor x;             // [rows, in] f32
  Tensor order;         // [places] i32 as above, or empty
  Tensor norm;          // [in] f32 | f16 | bf16, the weight of RmsNorm; empty: x is taken as it is
  float epsilon;        // of RmsNorm
  int activation_bits;  // 16 | 8
};

struct BiasedWeight {
  PackedWeight weight;
  Tensor bias;  // [out] f32 | f16 | bf16, or empty
};

// QuantizeActivations and PackedLinear in one: the activations' codes live in scratch.
struct QuantizedLinearArgs {
  LinearInput input;
  BiasedWeight linear;
  Tensor residual;  // [rows, out] f32, or empty
  Tensor y;         // [rows, out] f32, out
};
void CheckQuantizedLinear(const QuantizedLinearArgs& args);
void QuantizedLinear(const Context& context, const QuantizedLinearArgs& args);

// y = up * silu(gate): QuantizedLinear by two weights whose inputs lie in the same places, and
// Swiglu of the results, with the bits that these have; x is rounded once.
struct GatedLinearArgs {
  LinearInput input;
  BiasedWeight up;
  BiasedWeight gate;
  Tensor scratch;  // [rows, out] f32, out: where a product waits for the other
  Tensor y;        // [rows, out] f32, out
};
void CheckGatedLinear(const GatedLinearArgs& args);
void GatedLinear(const Context& context, const GatedLinearArgs& args);

}  // namespace kernels

// packedLinear, written once against `Lanes` and `Ints`. The includer defines Dot(sum, codes, x),
// sum += low * low + high * high of 16-bit pairs in each 32-bit lane; DotBytes, the same of four
// bytes, codes unsigned, if it has the instruction (kHasBytes); and the tile that fits its
// registers: kTileRows rows by kTileBlocks blocks of outputs.

#include "core/floats.inl"

constexpr int kVectors = kPackedOutputs / Ints::kWidth;  // of a block of outputs

// How codes of kBits come out of a word: as pairs of 16 bits, or as four bytes that multiply one
// (kBytes) or both (kHalves) bytes of activations.
template <int kBits, CodeForm kForm>
struct Codes {
  static constexpr bool kBytes = kForm != CodeForm::kPairs;
  static constexpr int kSteps = (kBytes ? 8 : 16) / kBits;  // per word
  static constexpr int kPlanes = kForm == CodeForm::kHalves ? 2 : 1;
  static constexpr uint32_t kMask = ((1u << kBits) - 1) * (kBytes ? 0x01010101u : 0x10001u);

  [[gnu::always_inline]] static inline Ints Take(Ints words, int j) {
    if constexpr (kSteps == 1) return words;
    return Ints::And(Ints::ShiftRight(words, j * kBits), Ints::Set(static_cast<int32_t>(kMask)));
  }

  [[gnu::always_inline]] static inline Ints MultiplyAdd(Ints sum, Ints codes, Ints x) {
    if constexpr (kBytes) return DotBytes(sum, codes, x);
    return Dot(sum, codes, x);
  }

  // The same with one x for every lane.
  [[gnu::always_inline]] static inline Ints MultiplyAddWith(Ints sum, Ints codes,
                                                            const int32_t* x) {
    if constexpr (kBytes) return DotBytesWith(sum, codes, x);
    return Dot(sum, codes, Ints::Set(*x));
  }

  // The sum of products, from sums kept apart: of every second, the first being lower halves.
  template <int kSums>
  [[gnu::always_inline]] static inline Ints Total(const Ints* sums) {
    Ints total = Ints::Zero();
#pragma GCC unroll 4
    for (int n = kPlanes - 1; n < kSums; n += kPlanes) total = Ints::Add(total, sums[n]);
    if constexpr (kPlanes == 1) return total;
    total = Ints::ShiftLeft(total, 8);
#pragma GCC unroll 4
    for (int n = 0; n < kSums; n += kPlanes) total = Ints::Add(total, sums[n]);
    return total;
  }
};

// Scales and zeros of a weight. Held by value, since a store may alias anything held by reference.
struct Grid {
  const std::byte* scales;
  const uint8_t* zeros;
  DType dtype;
  int32_t zero;

  explicit Grid(const PackedWeight& weight)
      : scales(weight.scales.data),
        zeros(weight.zeros.As<const uint8_t>()),
        dtype(weight.scales.dtype),
        zero(weight.zero) {}

  [[gnu::always_inline]] inline Lanes Scale(int64_t at) const {
    return OfFloats(scales, dtype, [at](const auto* from) { return Lanes::Load(from + at); });
  }

  // -zero * Σ x: what the sum over a block begins with.
  [[gnu::always_inline]] inline Ints Start(int64_t at, int32_t total) const {
    if (zeros == nullptr) return Ints::Set(-zero * total);
    return Ints::Multiply(Ints::LoadU8(zeros + at), Ints::Set(-total));
  }
};

// Rows of activations from one row on, by value too.
struct Rows {
  const int32_t* codes;
  const float* scales;
  const int32_t* sums;
  int64_t codes_stride, scales_stride, sums_stride;

  Rows(const QuantizedActivations& x, int64_t row)
      : codes(x.codes.Row<const int32_t>(row)),
        scales(x.scales.Row<const float>(row)),
        sums(x.sums.Row<const int32_t>(row)),
        codes_stride(x.codes.stride[0]),
        scales_stride(x.scales.stride[0]),
        sums_stride(x.sums.stride[0]) {}
};

inline void StoreOutputs(const PackedLinearArgs& args, int64_t row, int64_t column, Lanes sum) {
  const int64_t left = args.y.shape[1] - column;
  if (left <= 0) return;
  const int count = left < Lanes::kWidth ? static_cast<int>(left) : Lanes::kWidth;
  Lanes y = sum + LoadPartOrZero(args.bias, column, count);
  if (!args.residual.empty()) {
    y = y + Lanes::LoadPart(args.residual.Row<const float>(row) + column, count);
  }
  y.StorePart(args.y.Row<float>(row) + column, count);
}

// Few rows: kRows rows times kBlocks blocks of outputs, whose words are read once.
template <class Codes, int kRows, int kBlocks>
void Direct(const PackedLinearArgs& args, int64_t row, int64_t output_block) {
  constexpr int kSteps = Codes::kSteps;
  constexpr int kPlanes = Codes::kPlanes;
  constexpr int kColumns = kBlocks * kVectors;
  // Independent chains of additions, to hide their latency; a plane's sums stay apart.
  constexpr int kWanted =
      8 / (kRows * kColumns * kPlanes) < 1 ? 1 : 8 / (kRows * kColumns * kPlanes);
  constexpr int kChains = (kWanted < kSteps ? kWanted : kSteps) * kPlanes;
  constexpr int64_t kAhead = 4096;  // bytes: the hardware stops prefetching at a page
  const PackedWeight& weight = args.weight;
  const int64_t blocks = weight.Blocks();
  const int64_t block_words = weight.BlockWords();
  const int64_t stride = weight.words.stride[0];
  const int32_t* words = weight.words.As<const int32_t>() + output_block * stride;
  const Grid grid(weight);
  const Rows rows(args.x, row);
  const int32_t* x = rows.codes;
  const auto place = [&](int column, int64_t block) {
    return ((output_block + column / kVectors) * blocks + block) * kPackedOutputs +
           column % kVectors * Ints::kWidth;
  };
  Lanes y[kRows][kColumns];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) y[m][c] = Lanes::Zero();
  }
  for (int64_t b = 0; b < blocks; ++b) {
    Ints sum[kRows][kColumns][kChains];
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const int32_t total = rows.sums[m * rows.sums_stride + b];
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        sum[m][c][0] = grid.Start(place(c, b), total);
#pragma GCC unroll 4
        for (int n = 1; n < kChains; ++n) sum[m][c][n] = Ints::Zero();
      }
    }
    for (int64_t w = 0; w < block_words; ++w) {
      Ints codes[kColumns];
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        const int32_t* line = words + c / kVectors * stride + c % kVectors * Ints::kWidth;
        __builtin_prefetch(reinterpret_cast<const char*>(line) + kAhead);
        codes[c] = Ints::Load(line);
      }
#pragma GCC unroll 4
      for (int j = 0; j < kSteps; ++j) {
        Ints taken[kColumns];
#pragma GCC unroll 4
        for (int c = 0; c < kColumns; ++c) taken[c] = Codes::Take(codes[c], j);
#pragma GCC unroll 8
        for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
          for (int n = j * kPlanes; n < (j + 1) * kPlanes; ++n) {
#pragma GCC unroll 4
            for (int c = 0; c < kColumns; ++c) {
              Ints& chain = sum[m][c][n % kChains];
              chain = Codes::MultiplyAddWith(chain, taken[c], x + m * rows.codes_stride + n);
            }
          }
        }
      }
      words += kPackedOutputs;
      x += kSteps * kPlanes;
    }
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      const Lanes scale = grid.Scale(place(c, b));
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m) {
        const Ints total = Codes::template Total<kChains>(sum[m][c]);
        const Lanes both = scale * Lanes::Set(rows.scales[m * rows.scales_stride + b]);
        y[m][c] = Lanes::MulAdd(total.ToLanes(), both, y[m][c]);
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      StoreOutputs(args, row + m, output_block * kPackedOutputs + c * Ints::kWidth, y[m][c]);
    }
  }
}

// Blocks of outputs that so many rows take together: an input that is spread over a vector then
// serves each of them.
template <class Codes, int kRows>
constexpr int kTogether = kRows >= 3 && kVectors == 1 && Codes::kPlanes == 1 ? 2 : 1;

template <class Codes, int kRows>
void DirectBlocks(const PackedLinearArgs& args, const PackedTask& task, int64_t row) {
  int64_t o = task.block_begin;
  for (; o + kTogether<Codes, kRows> <= task.block_end; o += kTogether<Codes, kRows>) {
    Direct<Codes, kRows, kTogether<Codes, kRows>>(args, row, o);
  }
  for (; o < task.block_end; ++o) Direct<Codes, kRows, 1>(args, row, o);
}

template <class Codes, int kRows>
void DirectRows(const PackedLinearArgs& args, const PackedTask& task) {
  int64_t row = task.row_begin;
  for (; row + kRows <= task.row_end; row += kRows) DirectBlocks<Codes, kRows>(args, task, row);
  if constexpr (kRows > 1) {
    if (row == task.row_end) return;
    DirectRows<Codes, kRows - 1>(args, {row, task.row_end, task.block_begin, task.block_end});
  }
}

// Many rows: the codes of kPackedTaskBlocks blocks of outputs and one block of inputs, taken apart
// into strips of kTileBlocks: [pairs, kTileBlocks * 16] each.
constexpr int64_t kStrip = kTileBlocks * kPackedOutputs;

template <class Codes>
void TakeApart(const PackedWeight& weight, const PackedTask& task, int64_t block, int32_t* panel) {
  constexpr int kSteps = Codes::kSteps;
  const int64_t block_words = weight.BlockWords();
  for (int64_t o = task.block_begin; o < task.block_end; ++o) {
    const int32_t* words = weight.words.As<const int32_t>() + o * weight.words.stride[0] +
                           block * block_words * kPackedOutputs;
    const int64_t index = o - task.block_begin;
    int32_t* to = panel + index / kTileBlocks * kStrip * block_words * kSteps +
                  index % kTileBlocks * kPackedOutputs;
    for (int64_t w = 0; w < block_words; ++w, words += kPackedOutputs, to += kSteps * kStrip) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const Ints codes = Ints::Load(words + v * Ints::kWidth);
        // The next block of inputs comes into the cache while this one is multiplied.
        __builtin_prefetch(words + v * Ints::kWidth + block_words * kPackedOutputs, 0, 2);
#pragma GCC unroll 4
        for (int j = 0; j < kSteps; ++j) {
          Codes::Take(codes, j).Store(to + j * kStrip + v * Ints::kWidth);
        }
      }
    }
  }
}

// Adds one block of inputs to the sums of kRows rows and kBlocks blocks of outputs.
template <class Codes, int kRows, int kBlocks>
void Tile(const PackedLinearArgs& args, int64_t row, int64_t output_block, int64_t block,
          const int32_t* strip, float* sums) {
  constexpr int kColumns = kBlocks * kVectors;
  const PackedWeight& weight = args.weight;
  const int64_t steps = weight.BlockWords() * Codes::kSteps;
  const int64_t blocks = weight.Blocks();
  const Grid grid(weight);
  const Rows rows(args.x, row);
  const int32_t* x = rows.codes + block * steps;
  Ints sum[kRows][kColumns];
#pragma GCC unroll 12
  for (int m = 0; m < kRows; ++m) {
    const int32_t total = rows.sums[m * rows.sums_stride + block];
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) {
      const int64_t at = ((output_block + c / kVectors) * blocks + block) * kPackedOutputs +
                         c % kVectors * Ints::kWidth;
      sum[m][c] = grid.Start(at, total);
    }
  }
  for (int64_t p = 0; p < steps; ++p, strip += kStrip) {
    Ints codes[kColumns];
#pragma GCC unroll 8
    for (int c = 0; c < kColumns; ++c) codes[c] = Ints::Load(strip + c * Ints::kWidth);
#pragma GCC unroll 12
    for (int m = 0; m < kRows; ++m) {
      const Ints inputs = Ints::Set(x[m * rows.codes_stride + p]);
#pragma GCC unroll 8
      for (int c = 0; c < kColumns; ++c)
        sum[m][c] = Codes::MultiplyAdd(sum[m][c], codes[c], inputs);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < kColumns; ++c) {
    const int64_t at = ((output_block + c / kVectors) * blocks + block) * kPackedOutputs +
                       c % kVectors * Ints::kWidth;
    const Lanes scale = grid.Scale(at);
#pragma GCC unroll 12
    for (int m = 0; m < kRows; ++m) {
      const Lanes both = scale * Lanes::Set(rows.scales[m * rows.scales_stride + block]);
      float* y = sums + m * kPackedTaskBlocks * kPackedOutputs + c * Ints::kWidth;
      const Lanes before = block == 0 ? Lanes::Zero() : Lanes::Load(y);
      Lanes::MulAdd(sum[m][c].ToLanes(), both, before).Store(y);
    }
  }
}

template <class Codes, int kRows, int kBlocks>
void TileColumns(const PackedLinearArgs& args, const PackedTask& task, int64_t block,
                 const int32_t* panel, float* all_sums, int64_t row, int64_t output_block) {
  if constexpr (kBlocks > 1) {
    if (output_block + kBlocks > task.block_end) {
      return TileColumns<Codes, kRows, kBlocks - 1>(args, task, block, panel, all_sums, row,
                                                    output_block);
    }
  }
  const int64_t index = output_block - task.block_begin;
  const int64_t steps = args.weight.BlockWords() * Codes::kSteps;
  const int32_t* strip = panel + index / kTileBlocks * kStrip * steps;
  float* sums = all_sums + (row - task.row_begin) * kPackedTaskBlocks * kPackedOutputs +
                index * kPackedOutputs;
  Tile<Codes, kRows, kBlocks>(args, row, output_block, block, strip, sums);
}

template <class Codes, int kRows>
void TileRows(const PackedLinearArgs& args, const PackedTask& task, int64_t block,
              const int32_t* panel, float* sums, int64_t row) {
  if constexpr (kRows > 1) {
    if (row + kRows > task.row_end) {
      return TileRows<Codes, kRows - 1>(args, task, block, panel, sums, row);
    }
  }
  for (int64_t o = task.block_begin; o < task.block_end; o += kTileBlocks) {
    TileColumns<Codes, kRows, kTileBlocks>(args, task, block, panel, sums, row, o);
  }
}

// Short stretches of rows far apart: nothing else would bring them into the cache in time.
inline void FetchOutputs(const PackedLinearArgs& args, const PackedTask& task, int64_t row) {
  constexpr int64_t kLine = 64 / sizeof(float);
  const int64_t end = row + kTileRows < task.row_end ? row + kTileRows : task.row_end;
  const int64_t columns = task.block_end * kPackedOutputs;
  for (; row < end; ++row) {
    for (int64_t c = task.block_begin * kPackedOutputs; c < columns; c += kLine) {
      __builtin_prefetch(args.y.Row<float>(row) + c, 1, 2);
      if (!args.residual.empty()) __builtin_prefetch(args.residual.Row<const float>(row) + c, 0, 2);
    }
  }
}

template <class Codes>
void ManyRows(const PackedLinearArgs& args, const PackedTask& task, int32_t* scratch) {
  float* sums = reinterpret_cast<float*>(scratch + kPackedPanel);
  const int64_t blocks = args.weight.Blocks();
  for (int64_t b = 0; b < blocks; ++b) {
    TakeApart<Codes>(args.weight, task, b, scratch);
    for (int64_t row = task.row_begin; row < task.row_end; row += kTileRows) {
      if (b + 1 == blocks) FetchOutputs(args, task, row);
      TileRows<Codes, kTileRows>(args, task, b, scratch, sums, row);
    }
  }
  for (int64_t row = task.row_begin; row < task.row_end; ++row) {
    const float* from = sums + (row - task.row_begin) * kPackedTaskBlocks * kPackedOutputs;
    const int64_t columns = (task.block_end - task.block_begin) * kPackedOutputs;
    for (int64_t c = 0; c < columns; c += Lanes::kWidth) {
      const Lanes sum = blocks == 0 ? Lanes::Zero() : Lanes::Load(from + c);
      StoreOutputs(args, row, task.block_begin * kPackedOutputs + c, sum);
    }
  }
}

template <class Codes>
void RunCodes(const PackedLinearArgs& args, const PackedTask& task, int32_t* scratch) {
  if (scratch != nullptr) return ManyRows<Codes>(args, task, scratch);
  DirectRows<Codes, kDirectRows>(args, task);
}

void RunPacked(const PackedLinearArgs& args, const PackedTask& task, int32_t* scratch) {
  const bool has_nibbles = args.weight.bits == 4;
  if constexpr (kHasBytes) {
    if (args.x.form == CodeForm::kBytes) {
      return has_nibbles ? RunCodes<Codes<4, CodeForm::kBytes>>(args, task, scratch)
                         : RunCodes<Codes<8, CodeForm::kBytes>>(args, task, scratch);
    }
    if (args.x.form == CodeForm::kHalves) {  // of few rows only
      return has_nibbles ? DirectRows<Codes<4, CodeForm::kHalves>, kDirectRows>(args, task)
                         : DirectRows<Codes<8, CodeForm::kHalves>, kDirectRows>(args, task);
    }
  }
  return has_nibbles ? RunCodes<Codes<4, CodeForm::kPairs>>(args, task, scratch)
                     : RunCodes<Codes<8, CodeForm::kPairs>>(args, task, scratch);
}

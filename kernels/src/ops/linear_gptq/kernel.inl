// linear_gptq, written once against `Lanes` and `Words`. The includer defines kTileRows x
// kTileVectors, the accumulators that fit its registers.
//
// Lanes run along the outputs. Every y[m, n] is, for each kGptqDepth inputs, one chain of fused
// multiply-adds from zero in ascending order; the sums of these are added up in order, then the
// bias. That is the same in both paths below, so a row does not depend on its neighbours.

#include "core/floats.inl"

// The scale and zero of each group for the columns of a task, [groups, kGptqTaskColumns] each. The
// zeros have 2^23 added, as the codes do when they come out of Words::Biased.
struct Grid {
  const float* scales;
  const float* zeros;
};

template <class T>
void LoadScales(const GptqLinear& linear, const GptqTask& task, float* scales) {
  const Tensor& from = linear.weight.scales;
  const int64_t columns = task.column_end - task.column_begin;
  for (int64_t group = 0; group < linear.weight.Groups(); ++group) {
    const T* row = from.Row<const T>(group) + task.column_begin;
    for (int64_t c = 0; c < columns; c += Lanes::kWidth) {
      const int64_t left = columns - c;
      const Lanes scale = left >= Lanes::kWidth ? Lanes::Load(row + c)
                                                : Lanes::LoadPart(row + c, static_cast<int>(left));
      scale.Store(scales + group * kGptqTaskColumns + c);
    }
  }
}

Grid LoadGrid(const GptqLinear& linear, const GptqTask& task, float* scales) {
  const GptqWeight& weight = linear.weight;
  switch (weight.scales.dtype) {
    case DType::kF16:
      LoadScales<F16>(linear, task, scales);
      break;
    case DType::kBF16:
      LoadScales<BF16>(linear, task, scales);
      break;
    default:
      LoadScales<float>(linear, task, scales);
  }
  float* zeros = scales + weight.Groups() * kGptqTaskColumns;
  const int mask = static_cast<int>(weight.MaxCode());
  const int64_t per_word = weight.CodesPerWord();
  const int64_t columns = task.column_end - task.column_begin;
  for (int64_t group = 0; group < weight.Groups(); ++group) {
    const int32_t* row = weight.qzeros.Row<const int32_t>(group) + task.column_begin / per_word;
    for (int64_t c = 0; c < columns; c += Lanes::kWidth) {
      const int64_t left = (columns - c) / per_word;
      const int64_t all = (Lanes::kWidth + per_word - 1) / per_word;
      const int words = static_cast<int>(left < all ? left : all);
      Words::Spread(row + c / per_word, words, weight.bits)
          .Add(weight.zero_offset)
          .Biased(0, mask)
          .Store(zeros + group * kGptqTaskColumns + c);
    }
  }
  return {scales, zeros};
}

// Weights kCodes x Lanes of one row of words: use(j, w) for each code j in ascending order.
template <int kBits, class Use>
[[gnu::always_inline]] inline void ForEachCode(const GptqLinear& linear, const Grid& grid,
                                               int64_t word_row, Words words, int64_t task_column,
                                               const Use& use) {
  constexpr int kCodes = 32 / kBits;
  constexpr int kMask = (1 << kBits) - 1;
  const int32_t group = linear.word_groups[word_row];
  if (group != kMixed) {
    const int64_t at = group * kGptqTaskColumns + task_column;
    const Lanes scale = Lanes::Load(grid.scales + at);
    const Lanes zero = Lanes::Load(grid.zeros + at);
#pragma GCC unroll 8
    for (int j = 0; j < kCodes; ++j) use(j, (words.Biased(j * kBits, kMask) - zero) * scale);
    return;
  }
  const int32_t* groups = linear.groups + word_row * kCodes;
#pragma GCC unroll 8
  for (int j = 0; j < kCodes; ++j) {
    const int64_t at = groups[j] * kGptqTaskColumns + task_column;
    const Lanes zero = Lanes::Load(grid.zeros + at);
    use(j, (words.Biased(j * kBits, kMask) - zero) * Lanes::Load(grid.scales + at));
  }
}

// Which inputs a chain covers, and its place among the others.
struct Pass {
  const GptqLinear& linear;
  const GptqTask& task;
  Grid grid;
  int64_t begin;
  int64_t end;
  bool first;
  bool last;
};

// Adds a chain's sum for columns [column, column + count) of a row to y, which holds the earlier.
[[gnu::always_inline]] inline void AddToY(const Pass& pass, int64_t row, int64_t column, int count,
                                          Lanes sum) {
  const LinearGptqArgs& args = pass.linear.args;
  float* y = args.y.Row<float>(row) + column;
  Lanes total = sum;
  if (!pass.first) total = Lanes::LoadPart(y, count) + sum;
  if (pass.last) total = total + LoadPartOrZero(args.bias, column, count);
  total.StorePart(y, count);
}

// Few rows: codes are unpacked as they are multiplied. kPart: a single vector, perhaps not whole.
template <int kBits, int kRows, int kVectors, bool kPart>
void DirectTile(const Pass& pass, int64_t row, int64_t column) {
  constexpr int kCodes = 32 / kBits;
  constexpr int64_t kAhead =
      8;  // rows of words: they are far apart, so the hardware does not guess
  const GptqLinear& linear = pass.linear;
  const int64_t left = pass.task.column_end - column;
  const int count = left < Lanes::kWidth ? static_cast<int>(left) : Lanes::kWidth;
  const float* x = linear.args.x.Row<const float>(row);
  const int64_t x_stride = linear.args.x.stride[0];
  const int64_t task_column = column - pass.task.column_begin;
  Lanes acc[kRows][kVectors];
#pragma GCC unroll 32
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) acc[m][v] = Lanes::Zero();
  }
  for (int64_t r = pass.begin / kCodes; r < pass.end / kCodes; ++r) {
    const int32_t* words = linear.weight.qweight.Row<const int32_t>(r) + column;
    const int32_t* ahead = words + kAhead * linear.weight.qweight.stride[0];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) {
      const int at = v * Lanes::kWidth;
      __builtin_prefetch(ahead + at);
      const Words codes = kPart ? Words::LoadPart(words, count) : Words::Load(words + at);
      ForEachCode<kBits>(linear, pass.grid, r, codes, task_column + at, [&](int j, Lanes w) {
#pragma GCC unroll 32
        for (int m = 0; m < kRows; ++m) {
          acc[m][v] = Lanes::MulAdd(Lanes::Set(x[m * x_stride + r * kCodes + j]), w, acc[m][v]);
        }
      });
    }
  }
#pragma GCC unroll 32
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) {
      AddToY(pass, row + m, column + v * Lanes::kWidth, count, acc[m][v]);
    }
  }
}

template <int kBits, int kRows>
void Direct(const Pass& pass, int64_t row) {
  if constexpr (kRows > 1) {
    if (pass.task.row_end - row < kRows) return Direct<kBits, kRows - 1>(pass, row);
  }
  constexpr int kFit = kDirectAccumulators / kRows;
  constexpr int kVectors = kFit < 8 ? kFit : 8;
  int64_t column = pass.task.column_begin;
  for (; column + kVectors * Lanes::kWidth <= pass.task.column_end;
       column += kVectors * Lanes::kWidth) {
    DirectTile<kBits, kRows, kVectors, false>(pass, row, column);
  }
  for (; column < pass.task.column_end; column += Lanes::kWidth) {
    DirectTile<kBits, kRows, 1, true>(pass, row, column);
  }
  if (row + kRows < pass.task.row_end) Direct<kBits, kRows>(pass, row + kRows);
}

// Many rows: the weights of a pass are unpacked into a panel, strips of kTileVectors vectors of
// columns, each [kGptqDepth, kTileVectors] Lanes.
constexpr int64_t kStripColumns = kTileVectors * Lanes::kWidth;

template <int kBits>
void UnpackPanel(const Pass& pass, float* panel) {
  constexpr int kCodes = 32 / kBits;
  const GptqLinear& linear = pass.linear;
  const int64_t columns = pass.task.column_end - pass.task.column_begin;
  for (int64_t c = 0; c < columns; c += Lanes::kWidth) {
    const int64_t left = columns - c;
    const int count = static_cast<int>(left < Lanes::kWidth ? left : Lanes::kWidth);
    float* to = panel + c / kStripColumns * kStripColumns * kGptqDepth + c % kStripColumns;
    for (int64_t r = pass.begin / kCodes; r < pass.end / kCodes; ++r) {
      const int32_t* from =
          linear.weight.qweight.Row<const int32_t>(r) + pass.task.column_begin + c;
      ForEachCode<kBits>(linear, pass.grid, r, Words::LoadPart(from, count), c,
                         [&](int j, Lanes w) { w.Store(to + j * kStripColumns); });
      to += kCodes * kStripColumns;
    }
  }
}

// A tile of at most kRows x kVectors at (row, column) of y.
template <int kRows, int kVectors>
void PassTile(const Pass& pass, const float* strip, int64_t row, int64_t column) {
  if constexpr (kRows > 1) {
    if (row + kRows > pass.task.row_end) {
      return PassTile<kRows - 1, kVectors>(pass, strip, row, column);
    }
  }
  if constexpr (kVectors > 1) {
    if (column + (kVectors - 1) * Lanes::kWidth >= pass.task.column_end) {
      return PassTile<kRows, kVectors - 1>(pass, strip, row, column);
    }
  }
  const float* x = pass.linear.args.x.template Row<const float>(row) + pass.begin;
  const int64_t x_stride = pass.linear.args.x.stride[0];
  Lanes acc[kRows][kVectors];
#pragma GCC unroll 32
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) acc[m][v] = Lanes::Zero();
  }
  for (int64_t k = 0; k < pass.end - pass.begin; ++k) {
    Lanes w[kVectors];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) {
      w[v] = Lanes::Load(strip + k * kStripColumns + v * Lanes::kWidth);
    }
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m) {
      const Lanes xm = Lanes::Set(x[m * x_stride + k]);
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; ++v) acc[m][v] = Lanes::MulAdd(xm, w[v], acc[m][v]);
    }
  }
#pragma GCC unroll 32
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = column + v * Lanes::kWidth;
      const int64_t left = pass.task.column_end - at;
      const int count = static_cast<int>(left < Lanes::kWidth ? left : Lanes::kWidth);
      AddToY(pass, row + m, at, count, acc[m][v]);
    }
  }
}

void ManyRows(const Pass& pass, const float* panel) {
  for (int64_t column = pass.task.column_begin; column < pass.task.column_end;
       column += kStripColumns) {
    const float* strip = panel + (column - pass.task.column_begin) * kGptqDepth;
    for (int64_t row = pass.task.row_begin; row < pass.task.row_end; row += kTileRows) {
      PassTile<kTileRows, kTileVectors>(pass, strip, row, column);
    }
  }
}

template <int kBits>
void RunTask(const GptqLinear& linear, const GptqTask& task, float* scratch) {
  const Grid grid = LoadGrid(linear, task, scratch);
  float* panel = scratch + 2 * linear.weight.Groups() * kGptqTaskColumns;
  const int64_t in = linear.args.x.shape[1];
  int64_t begin = 0;
  do {
    const int64_t end = in - begin < kGptqDepth ? in : begin + kGptqDepth;
    const Pass pass = {linear, task, grid, begin, end, begin == 0, end == in};
    if (linear.args.y.shape[0] <= kGptqDirectRows) {
      Direct<kBits, kDirectRows>(pass, task.row_begin);
    } else {
      UnpackPanel<kBits>(pass, panel);
      ManyRows(pass, panel);
    }
    begin = end;
  } while (begin < in);
}

void RunAnyTask(const GptqLinear& linear, const GptqTask& task, float* scratch) {
  if (linear.weight.bits == 4) return RunTask<4>(linear, task, scratch);
  RunTask<8>(linear, task, scratch);
}

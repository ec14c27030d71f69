// Shared by the instruction sets; the including file provides Lanes. Looking for a grid and plain
// rounding have columns in the lanes; GPTQ, where a column depends on the one before, has rows.

namespace {

struct LaneGrid {
  Lanes scale;
  Lanes zero;
};

struct RoundedLanes {
  Lanes value;
  Lanes code;
};

inline RoundedLanes RoundLanes(Lanes w, LaneGrid grid, Lanes max_code) {
  Lanes code = Lanes::Round(w / grid.scale) + grid.zero;
  // Max gives its second operand where the first is not a number.
  code = Lanes::Min(Lanes::Max(code, Lanes::Zero()), max_code);
  // 0 * w adds nothing, unless w is not finite: that must not turn into a harmless number.
  return {grid.scale * (code - grid.zero) + Lanes::Zero() * w, code};
}

// Columns past the last count as zeros, which every grid has.
inline Lanes LoadUpTo(const float* p, int64_t count) {
  if (count >= Lanes::kWidth) return Lanes::Load(p);
  return count > 0 ? Lanes::LoadPart(p, static_cast<int>(count)) : Lanes::Zero();
}

inline float RoundingError(const float* w, const float* importance, int64_t columns, Grid grid,
                           Lanes max_code) {
  constexpr int kParts = kErrorSums / Lanes::kWidth;
  const LaneGrid lanes = {Lanes::Set(grid.scale), Lanes::Set(grid.zero)};
  Lanes totals[kParts];
  for (Lanes& total : totals) total = Lanes::Zero();
  for (int64_t j = 0; j < columns; j += kErrorSums) {
    for (int part = 0; part < kParts; ++part) {
      const int64_t at = j + part * Lanes::kWidth;
      const Lanes x = LoadUpTo(w + at, columns - at);
      const Lanes error = x - RoundLanes(x, lanes, max_code).value;
      const Lanes square = error * error;
      totals[part] =
          totals[part] +
          (importance == nullptr ? square : LoadUpTo(importance + at, columns - at) * square);
    }
  }
  float sums[kErrorSums];
  for (int part = 0; part < kParts; ++part) totals[part].Store(sums + part * Lanes::kWidth);
  return TotalError(sums);
}

inline Grid LeastErrorGrid(const float* w, const float* importance, int64_t columns, float low,
                           float high, const GridOptions& options) {
  const Lanes max_code = Lanes::Set(static_cast<float>((1 << options.bits) - 1));
  return LeastError(low, high, options, [&](Grid grid) {
    return RoundingError(w, importance, columns, grid, max_code);
  });
}

inline Grid GridOfColumns(const float* w, const float* importance, int64_t columns,
                          const GridOptions& options) {
  Lanes low = Lanes::Zero();
  Lanes high = Lanes::Zero();
  int64_t j = 0;
  for (; j + Lanes::kWidth <= columns; j += Lanes::kWidth) {
    const Lanes x = Lanes::Load(w + j);
    low = Lanes::Min(x, low);
    high = Lanes::Max(x, high);
  }
  if (j < columns) {
    const Lanes x = Lanes::LoadPart(w + j, static_cast<int>(columns - j));
    low = Lanes::Min(x, low);
    high = Lanes::Max(x, high);
  }
  const float lowest = -(Lanes::Zero() - low).Largest();
  if (!options.minimizes_error) return GridOfRange(lowest, high.Largest(), options);
  return LeastErrorGrid(w, importance, columns, lowest, high.Largest(), options);
}

// One block of GPTQ for at most kWidth rows. Arrays are [columns][kWidth].
struct BlockRows {
  const GptqBlockArgs& args;
  int64_t first;  // row
  int rows;
  float* w;
  float* start;  // w as it was when the block began; only for RangeSource::kStale
  float* error;
  float* codes;
  float* row_w;  // [columns]

  static float* Lane(float* array, int64_t column) { return array + column * Lanes::kWidth; }

  void Read() const {
    const int64_t columns = args.end - args.begin;
    for (int row = 0; row < Lanes::kWidth; ++row) {
      const float* source = row < rows ? args.w.Row<float>(first + row) + args.begin : nullptr;
      for (int64_t i = 0; i < columns; ++i) Lane(w, i)[row] = source == nullptr ? 0.0f : source[i];
    }
    if (args.range != RangeSource::kStale) return;
    for (int64_t i = 0; i < columns * Lanes::kWidth; ++i) start[i] = w[i];
  }

  void Write() const {
    const int64_t columns = args.end - args.begin;
    for (int row = 0; row < rows; ++row) {
      float* w_row = args.w.Row<float>(first + row) + args.begin;
      float* error_row = args.error.Row<float>(first + row);
      uint8_t* codes_row = args.codes.Row<uint8_t>(first + row) + args.begin;
      for (int64_t i = 0; i < columns; ++i) {
        w_row[i] = Lane(w, i)[row];
        error_row[i] = Lane(error, i)[row];
        codes_row[i] = static_cast<uint8_t>(static_cast<int32_t>(Lane(codes, i)[row]));
      }
    }
  }

  // Finds the grid of the run of columns that starts at `column`, for each row, and reports it.
  void FindGrid(int64_t column) const {
    const int32_t* group = args.column_group.As<int32_t>() + args.begin;
    float* source = args.range == RangeSource::kStale ? start : w;
    Lanes low = Lanes::Zero();
    Lanes high = Lanes::Zero();
    int64_t end = column;
    for (; end < args.end - args.begin && group[end] == group[column]; ++end) {
      const Lanes x = Lanes::Load(Lane(source, end));
      low = Lanes::Min(x, low);
      high = Lanes::Max(x, high);
    }
    float lows[Lanes::kWidth];
    float highs[Lanes::kWidth];
    low.Store(lows);
    high.Store(highs);
    for (int row = 0; row < rows; ++row) {
      const Grid grid = args.grid.minimizes_error
                            ? SearchGrid(source, {column, end}, row, lows[row], highs[row])
                            : GridOfRange(lows[row], highs[row], args.grid);
      args.scales.Row<float>(first + row)[group[column]] = grid.scale;
      args.zeros.Row<int32_t>(first + row)[group[column]] = static_cast<int32_t>(grid.zero);
    }
  }

  struct Columns {
    int64_t begin, end;
  };

  // With columns in the lanes, so that its sums are those of FindGridRow.
  Grid SearchGrid(float* source, Columns columns, int row, float low, float high) const {
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      row_w[j - columns.begin] = Lane(source, j)[row];
    }
    return LeastErrorGrid(row_w, From(args.importance, args.begin + columns.begin),
                          columns.end - columns.begin, low, high, args.grid);
  }

  LaneGrid LoadGrid(int32_t group) const {
    float scale[Lanes::kWidth];
    float zero[Lanes::kWidth];
    for (int row = 0; row < Lanes::kWidth; ++row) {
      scale[row] = row < rows ? args.scales.Row<float>(first + row)[group] : 1.0f;
      zero[row] =
          row < rows ? static_cast<float>(args.zeros.Row<int32_t>(first + row)[group]) : 0.0f;
    }
    return {Lanes::Load(scale), Lanes::Load(zero)};
  }

  void Quantize() const {
    const int64_t columns = args.end - args.begin;
    const int32_t* group = args.column_group.As<int32_t>() + args.begin;
    const Lanes max_code = Lanes::Set(static_cast<float>((1 << args.grid.bits) - 1));
    LaneGrid grid = {Lanes::Zero(), Lanes::Zero()};
    for (int64_t i = 0; i < columns; ++i) {
      if (i == 0 || group[i] != group[i - 1]) {
        if (args.range != RangeSource::kGiven) FindGrid(i);
        grid = LoadGrid(group[i]);
      }
      const float* factor = args.factor.Row<float>(args.begin + i) + args.begin;
      const Lanes x = Lanes::Load(Lane(w, i));
      const RoundedLanes rounded = RoundLanes(x, grid, max_code);
      const Lanes e = (x - rounded.value) / Lanes::Set(factor[i]);
      rounded.value.Store(Lane(w, i));
      rounded.code.Store(Lane(codes, i));
      e.Store(Lane(error, i));
      for (int64_t j = i + 1; j < columns; ++j) {
        Lanes::NegMulAdd(e, Lanes::Set(factor[j]), Lanes::Load(Lane(w, j))).Store(Lane(w, j));
      }
    }
  }
};

}  // namespace

void FindGridRow(const FindGridArgs& args, int64_t row) {
  const int64_t in = args.w.shape[1];
  const float* w = args.w.Row<float>(row);
  for (int64_t g = 0; g < args.scales.shape[1]; ++g) {
    const int64_t first = g * args.group_size;
    const int64_t columns = args.group_size < in - first ? args.group_size : in - first;
    const Grid grid = GridOfColumns(w + first, From(args.importance, first), columns, args.grid);
    args.scales.Row<float>(row)[g] = grid.scale;
    args.zeros.Row<int32_t>(row)[g] = static_cast<int32_t>(grid.zero);
  }
}

void RoundToGridRow(const RoundToGridArgs& args, int64_t row) {
  const int64_t in = args.w.shape[1];
  const int32_t* group = args.column_group.As<int32_t>();
  const float* scales = args.scales.Row<float>(row);
  const int32_t* zeros = args.zeros.Row<int32_t>(row);
  float* w = args.w.Row<float>(row);
  uint8_t* codes = args.codes.Row<uint8_t>(row);
  const Lanes max_code = Lanes::Set(static_cast<float>((1 << args.bits) - 1));
  for (int64_t j = 0; j < in; j += Lanes::kWidth) {
    const int count = in - j < Lanes::kWidth ? static_cast<int>(in - j) : Lanes::kWidth;
    float scale[Lanes::kWidth] = {};
    float zero[Lanes::kWidth] = {};
    float code[Lanes::kWidth];
    for (int lane = 0; lane < count; ++lane) {
      scale[lane] = scales[group[j + lane]];
      zero[lane] = static_cast<float>(zeros[group[j + lane]]);
    }
    const RoundedLanes rounded = RoundLanes(Lanes::LoadPart(w + j, count),
                                            {Lanes::Load(scale), Lanes::Load(zero)}, max_code);
    rounded.value.StorePart(w + j, count);
    rounded.code.Store(code);
    for (int lane = 0; lane < count; ++lane) {
      codes[j + lane] = static_cast<uint8_t>(static_cast<int32_t>(code[lane]));
    }
  }
}

void GptqRows(const GptqBlockArgs& args, int64_t first, int rows, float* scratch) {
  static_assert(kGptqRows == Lanes::kWidth);
  const int64_t size = (args.end - args.begin) * Lanes::kWidth;
  const BlockRows block = {
      args,
      first,
      rows,
      scratch,
      scratch + size,
      scratch + 2 * size,
      scratch + 3 * size,
      scratch + 4 * size,
  };
  block.Read();
  block.Quantize();
  block.Write();
}

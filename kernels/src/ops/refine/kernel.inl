// Shared by the instruction sets; the including file provides Lanes. Rows are in the lanes, because
// a column needs what the columns before it did.

namespace {

struct LaneScale {
  Lanes scale;
  Lanes zero;
};

// Arrays are [columns][kWidth].
struct BlockRows {
  const RefineBlockArgs& args;
  int64_t first;  // row
  int rows;
  int64_t columns;
  const int32_t* group;  // of the block's columns
  float* residual;
  float* steps;  // code - zero
  float* before;
  float* product;

  static float* Lane(float* array, int64_t column) { return array + column * Lanes::kWidth; }

  const float* Hessian(int64_t column) const {
    return args.hessian.Row<const float>(args.begin + column) + args.begin;
  }

  void Read() const {
    for (int row = 0; row < Lanes::kWidth; ++row) {
      const bool exists = row < rows;
      const int64_t at = first + row;
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t column = args.begin + j;
        Lane(residual, j)[row] = exists ? args.residual.Row<const float>(at)[column] : 0.0f;
        Lane(before, j)[row] = exists ? args.w.Row<const float>(at)[column] : 0.0f;
        Lane(steps, j)[row] =
            exists ? static_cast<float>(args.codes.Row<const uint8_t>(at)[column]) -
                         static_cast<float>(args.zeros.Row<const int32_t>(at)[group[j]])
                   : 0.0f;
      }
    }
  }

  void Write() const {
    for (int row = 0; row < rows; ++row) {
      const int64_t at = first + row;
      for (int64_t j = 0; j < columns; ++j) {
        const float step = Lane(steps, j)[row];
        const float value =
            args.scales.Row<const float>(at)[group[j]] * step + 0.0f * Lane(residual, j)[row];
        args.change.Row<float>(at)[j] = value - Lane(before, j)[row];
        args.w.Row<float>(at)[args.begin + j] = value;
        args.codes.Row<uint8_t>(at)[args.begin + j] = static_cast<uint8_t>(
            step + static_cast<float>(args.zeros.Row<const int32_t>(at)[group[j]]));
      }
    }
  }

  LaneScale LoadScale(int32_t index) const {
    float scale[Lanes::kWidth];
    float zero[Lanes::kWidth];
    for (int row = 0; row < Lanes::kWidth; ++row) {
      const int64_t at = first + row;
      scale[row] = row < rows ? args.scales.Row<const float>(at)[index] : 1.0f;
      zero[row] = row < rows ? static_cast<float>(args.zeros.Row<const int32_t>(at)[index]) : 0.0f;
    }
    return {Lanes::Load(scale), Lanes::Load(zero)};
  }

  // The change of each row's scale.
  Lanes ReplaceScales(int32_t index, Lanes gradient, Lanes curvature) const {
    float gradients[Lanes::kWidth];
    float curvatures[Lanes::kWidth];
    float changes[Lanes::kWidth] = {};
    gradient.Store(gradients);
    curvature.Store(curvatures);
    for (int row = 0; row < rows; ++row) {
      float& scale = args.scales.Row<float>(first + row)[index];
      const float better = BetterScale(scale, gradients[row], curvatures[row], args.scale_dtype);
      changes[row] = better - scale;
      scale = better;
    }
    return Lanes::Load(changes);
  }

  void RefineScale(int64_t begin, int64_t end) const {
    // A few columns at a time, whose sums stay in registers.
    constexpr int kColumns = 4;
    int64_t j = 0;
    for (; j + kColumns <= columns; j += kColumns) Products<kColumns>(begin, end, j);
    for (; j < columns; ++j) Products<1>(begin, end, j);
    Lanes gradient = Lanes::Zero();
    Lanes curvature = Lanes::Zero();
    for (int64_t i = begin; i < end; ++i) {
      const Lanes step = Lanes::Load(Lane(steps, i));
      gradient = Lanes::MulAdd(step, Lanes::Load(Lane(residual, i)), gradient);
      curvature = Lanes::MulAdd(step, Lanes::Load(Lane(product, i)), curvature);
    }
    const Lanes change = ReplaceScales(group[begin], gradient, curvature);
    for (int64_t k = 0; k < columns; ++k) {
      const Lanes r = Lanes::Load(Lane(residual, k));
      Lanes::NegMulAdd(change, Lanes::Load(Lane(product, k)), r).Store(Lane(residual, k));
    }
  }

  // product[j] of kCount columns from `column`: steps of columns [begin, end) times the Hessian.
  template <int kCount>
  void Products(int64_t begin, int64_t end, int64_t column) const {
    Lanes sums[kCount];
    for (Lanes& sum : sums) sum = Lanes::Zero();
    for (int64_t i = begin; i < end; ++i) {
      const Lanes step = Lanes::Load(Lane(steps, i));
      const float* hessian = Hessian(i) + column;
      for (int c = 0; c < kCount; ++c) {
        sums[c] = Lanes::MulAdd(step, Lanes::Set(hessian[c]), sums[c]);
      }
    }
    for (int c = 0; c < kCount; ++c) sums[c].Store(Lane(product, column + c));
  }

  void RefineScales() const {
    for (int64_t begin = 0; begin < columns;) {
      int64_t end = begin + 1;
      while (end < columns && group[end] == group[begin]) ++end;
      RefineScale(begin, end);
      begin = end;
    }
  }

  void RefineCodes() const {
    const Lanes max_code = Lanes::Set(static_cast<float>((1 << args.bits) - 1));
    LaneScale grid = {Lanes::Zero(), Lanes::Zero()};
    for (int64_t j = 0; j < columns; ++j) {
      if (j == 0 || group[j] != group[j - 1]) grid = LoadScale(group[j]);
      const float* hessian = Hessian(j);
      const Lanes old = grid.scale * Lanes::Load(Lane(steps, j));
      const Lanes best = old + Lanes::Load(Lane(residual, j)) / Lanes::Set(hessian[j]);
      Lanes code = Lanes::Round(best / grid.scale) + grid.zero;
      code = Lanes::Min(Lanes::Max(code, Lanes::Zero()), max_code);
      const Lanes step = code - grid.zero;
      step.Store(Lane(steps, j));
      // 0 * best keeps what is not finite from becoming harmless.
      const Lanes change = grid.scale * step + Lanes::Zero() * best - old;
      if (Lanes::Max(change, Lanes::Zero() - change).Sum() == 0.0f) continue;
      for (int64_t k = 0; k < columns; ++k) {
        const Lanes r = Lanes::Load(Lane(residual, k));
        Lanes::NegMulAdd(change, Lanes::Set(hessian[k]), r).Store(Lane(residual, k));
      }
    }
  }
};

}  // namespace

void RefineRows(const RefineBlockArgs& args, int64_t first, int rows, float* scratch) {
  static_assert(kRefineRows == Lanes::kWidth);
  const int64_t columns = args.end - args.begin;
  const int64_t size = columns * Lanes::kWidth;
  const BlockRows block = {
      args,
      first,
      rows,
      columns,
      args.column_group.As<const int32_t>() + args.begin,
      scratch,
      scratch + size,
      scratch + 2 * size,
      scratch + 3 * size,
  };
  block.Read();
  for (int sweep = 0; sweep < args.sweeps; ++sweep) {
    if (args.refines_scales) block.RefineScales();
    if (args.refines_codes) block.RefineCodes();
  }
  block.Write();
}

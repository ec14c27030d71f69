// linear, written once against `Lanes`. The includer defines kTileRows x kTileColumns, the
// accumulators that fit its registers.
//
// Lanes run along the inputs. Every y[m, n] is one chain of fused multiply-adds per lane over the
// inputs in ascending order (a last part is padded with zeros), then the tree of Lanes::Sum, then
// the bias: the same in every tile below, so a row does not depend on its neighbours.

template <int kRows, int kColumns>
struct Accumulators {
  Lanes lanes[kRows][kColumns];

  [[gnu::always_inline]] inline void Clear() {
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 32
      for (int n = 0; n < kColumns; ++n) lanes[m][n] = Lanes::Zero();
    }
  }

  [[gnu::always_inline]] inline void Load(const float* from, int64_t stride) {
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 32
      for (int n = 0; n < kColumns; ++n) {
        lanes[m][n] = Lanes::Load(from + m * stride + n * Lanes::kWidth);
      }
    }
  }

  [[gnu::always_inline]] inline void Store(float* to, int64_t stride) const {
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 32
      for (int n = 0; n < kColumns; ++n) lanes[m][n].Store(to + m * stride + n * Lanes::kWidth);
    }
  }

  // One step of every chain. The loads are functions of the row and of the column.
  template <class LoadX, class LoadWeight>
  [[gnu::always_inline]] inline void Step(const LoadX& load_x, const LoadWeight& load_weight) {
    Lanes w[kColumns];
#pragma GCC unroll 32
    for (int n = 0; n < kColumns; ++n) w[n] = load_weight(n);
#pragma GCC unroll 32
    for (int m = 0; m < kRows; ++m) {
      const Lanes x = load_x(m);
#pragma GCC unroll 32
      for (int n = 0; n < kColumns; ++n) lanes[m][n] = Lanes::MulAdd(x, w[n], lanes[m][n]);
    }
  }

  template <class T>
  [[gnu::always_inline]] inline void MulAdd(const float* x, int64_t x_stride, const T* weight,
                                            int64_t weight_stride, int64_t depth) {
    int64_t k = 0;
    for (; k + Lanes::kWidth <= depth; k += Lanes::kWidth) {
      Step([&](int m) { return Lanes::Load(x + m * x_stride + k); },
           [&](int n) { return Lanes::Load(weight + n * weight_stride + k); });
    }
    if (k == depth) return;
    const int left = static_cast<int>(depth - k);
    Step([&](int m) { return Lanes::LoadPart(x + m * x_stride + k, left); },
         [&](int n) { return Lanes::LoadPart(weight + n * weight_stride + k, left); });
  }

  [[gnu::always_inline]] inline void Finish(const LinearArgs& args, int64_t row,
                                            int64_t column) const {
#pragma GCC unroll 32
    for (int n = 0; n < kColumns; ++n) {
      const float bias = BiasAt(args.bias, column + n);
#pragma GCC unroll 32
      for (int m = 0; m < kRows; ++m) {
        args.y.Row<float>(row + m)[column + n] = lanes[m][n].Sum() + bias;
      }
    }
  }

  static float BiasAt(const Tensor& bias, int64_t column) {
    if (bias.empty()) return 0;
    switch (bias.dtype) {
      case DType::kF16:
        return ToFloat(bias.As<F16>()[column]);
      case DType::kBF16:
        return ToFloat(bias.As<BF16>()[column]);
      default:
        return bias.As<float>()[column];
    }
  }
};

// Few rows: weights are widened as they are multiplied.
template <class T, int kRows, int kColumns>
void DirectTile(const LinearArgs& args, int64_t row, int64_t column) {
  Accumulators<kRows, kColumns> acc;
  acc.Clear();
  acc.MulAdd(args.x.Row<const float>(row), args.x.stride[0], args.weight.Row<const T>(column),
             args.weight.stride[0], args.x.shape[1]);
  acc.Finish(args, row, column);
}

// kColumns columns of every row of a task: memory is read for the first rows, the cache for others.
template <class T, int kRows, int kColumns>
void DirectColumns(const LinearArgs& args, const LinearTask& task, int64_t row, int64_t column) {
  for (; row + kRows <= task.row_end; row += kRows) {
    DirectTile<T, kRows, kColumns>(args, row, column);
  }
  if constexpr (kRows > 1) {
    if (row < task.row_end) DirectColumns<T, kRows - 1, kColumns>(args, task, row, column);
  }
}

template <class T, int kRows>
void Direct(const LinearArgs& args, const LinearTask& task) {
  if constexpr (kRows > 1) {
    if (task.row_end - task.row_begin < kRows) return Direct<T, kRows - 1>(args, task);
  }
  constexpr int kFit = kTileRows * kTileColumns / kRows;
  constexpr int kColumns = kFit < 8 ? kFit : 8;
  int64_t column = task.column_begin;
  for (; column + kColumns <= task.column_end; column += kColumns) {
    DirectColumns<T, kRows, kColumns>(args, task, task.row_begin, column);
  }
  for (; column < task.column_end; ++column) {
    DirectColumns<T, kRows, 1>(args, task, task.row_begin, column);
  }
}

// One pass of a task with many rows: inputs [begin, begin + depth).
struct Pass {
  const LinearArgs& args;
  const LinearTask& task;
  int64_t begin;
  int64_t depth;
  bool first;
  bool last;
  const float* panel;  // [task columns, kLinearDepth]: the widened weights
  float* sums;         // [task rows, kLinearTaskColumns] of Lanes, between passes
};

// A tile of at most kRows x kColumns at (row, column) of y.
template <int kRows, int kColumns>
void PassTile(const Pass& pass, int64_t row, int64_t column) {
  if constexpr (kRows > 1) {
    if (row + kRows > pass.task.row_end) return PassTile<kRows - 1, kColumns>(pass, row, column);
  }
  if constexpr (kColumns > 1) {
    if (column + kColumns > pass.task.column_end) {
      return PassTile<kRows, kColumns - 1>(pass, row, column);
    }
  }
  constexpr int64_t kStride = kLinearTaskColumns * Lanes::kWidth;
  const int64_t task_column = column - pass.task.column_begin;
  float* sums = pass.sums + (row - pass.task.row_begin) * kStride + task_column * Lanes::kWidth;
  Accumulators<kRows, kColumns> acc;
  if (pass.first) {
    acc.Clear();
  } else {
    acc.Load(sums, kStride);
  }
  acc.MulAdd(pass.args.x.template Row<const float>(row) + pass.begin, pass.args.x.stride[0],
             pass.panel + task_column * kLinearDepth, kLinearDepth, pass.depth);
  if (pass.last) {
    acc.Finish(pass.args, row, column);
  } else {
    acc.Store(sums, kStride);
  }
}

template <class T>
void WidenPanel(const LinearArgs& args, const LinearTask& task, int64_t begin, int64_t depth,
                float* panel) {
  for (int64_t column = task.column_begin; column < task.column_end; ++column) {
    const T* from = args.weight.Row<const T>(column) + begin;
    float* to = panel + (column - task.column_begin) * kLinearDepth;
    int64_t k = 0;
    for (; k + Lanes::kWidth <= depth; k += Lanes::kWidth) Lanes::Load(from + k).Store(to + k);
    if (k == depth) continue;
    const int left = static_cast<int>(depth - k);
    Lanes::LoadPart(from + k, left).StorePart(to + k, left);
  }
}

template <class T>
void RunTask(const LinearArgs& args, const LinearTask& task, float* scratch) {
  if (args.y.shape[0] <= kLinearDirectRows) {
    return Direct<T, kTileRows>(args, task);
  }
  float* panel = scratch;
  float* sums = scratch + kLinearTaskColumns * kLinearDepth;
  const int64_t in = args.x.shape[1];
  int64_t begin = 0;
  do {
    const int64_t left = in - begin;
    const int64_t depth = left < kLinearDepth ? left : kLinearDepth;
    WidenPanel<T>(args, task, begin, depth, panel);
    const Pass pass = {args, task, begin, depth, begin == 0, depth == left, panel, sums};
    for (int64_t column = task.column_begin; column < task.column_end; column += kTileColumns) {
      for (int64_t row = task.row_begin; row < task.row_end; row += kTileRows) {
        PassTile<kTileRows, kTileColumns>(pass, row, column);
      }
    }
    begin += depth;
  } while (begin < in);
}

void RunAnyTask(const LinearArgs& args, const LinearTask& task, float* scratch) {
  switch (args.weight.dtype) {
    case DType::kF16:
      return RunTask<F16>(args, task, scratch);
    case DType::kBF16:
      return RunTask<BF16>(args, task, scratch);
    default:
      return RunTask<float>(args, task, scratch);
  }
}

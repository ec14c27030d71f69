// Included by avx2.cc and avx512.cc, after Lanes, Exp and tile.inl, in their target region.
//
// Softmax over tiles of kTile positions (Milakov and Gimelshein, arXiv:1805.02867; Dao et al.,
// arXiv:2205.14135): each tile rescales the sums of those before it. For one query the tiles, the
// order within them and every tree of additions depend on its own positions only; the templates
// below differ only in how many queries share a load.

constexpr int kShared = Lanes::kWidth / 4;  // queries that share registers of keys or values

// Q x K dot products, query major.
template <int Q, int K, class T>
inline Lanes Dots(const float* const* q, const T* const* k, int64_t dim) {
  static_assert(Q * K == Lanes::kWidth);
  Lanes sum[Q * K];
  for (Lanes& lanes : sum) lanes = Lanes::Zero();
  const int64_t whole = dim - dim % Lanes::kWidth;
  for (int64_t d = 0; d < whole; d += Lanes::kWidth) {
    Lanes query[Q];
    for (int i = 0; i < Q; ++i) query[i] = Lanes::Load(q[i] + d);
    for (int j = 0; j < K; ++j) {
      const Lanes key = Lanes::Load(k[j] + d);
      for (int i = 0; i < Q; ++i) sum[i * K + j] = Lanes::MulAdd(query[i], key, sum[i * K + j]);
    }
  }
  const int tail = static_cast<int>(dim - whole);
  if (tail > 0) {
    for (int i = 0; i < Q; ++i) {
      const Lanes query = Lanes::LoadPart(q[i] + whole, tail);
      for (int j = 0; j < K; ++j) {
        const Lanes key = Lanes::LoadPart(k[j] + whole, tail);
        sum[i * K + j] = Lanes::MulAdd(query, key, sum[i * K + j]);
      }
    }
  }
  return SumEach(sum);
}

// score[i][j] = q[i] . k[j] for j < limit (and a few more, which are masked later). The keys of
// `next`, if any, are fetched meanwhile.
template <int Q, class T>
inline void Score(const float* const* q, const TileRows<T>& rows, const TileRows<T>* next,
                  int limit, int64_t dim, float* score) {
  constexpr int kKeys = Lanes::kWidth / Q;
  for (int j = 0; j < limit; j += kKeys) {
    for (int n = 0; next != nullptr && n < kKeys; ++n) FetchKey(*next, j + n, dim);
    float dots[Lanes::kWidth];
    Dots<Q, kKeys>(q, rows.k + j, dim).Store(dots);
    for (int i = 0; i < Q; ++i) {
      for (int n = 0; n < kKeys; ++n) score[i * kTile + j + n] = dots[i * kKeys + n];
    }
  }
}

struct Running {
  float largest = -__builtin_inff();
  float total = 0;
  float correction = 0;  // what this tile multiplies the earlier sums by
  float offset = 0;      // what this tile adds to every element, beside its values or codes
  float query_sum = 0;   // of all elements of the query
};

// Turns the scores of a tile into weights relative to the largest score so far.
inline void Weigh(float* score, int seen, float scale, Running& running) {
  const Lanes index = Lanes::Load(kIndex);
  const Lanes hidden = Lanes::Set(-__builtin_inff());
  Lanes most = hidden;
  for (int j = 0; j < kTile; j += Lanes::kWidth) {
    const Lanes scaled = Lanes::Load(score + j) * Lanes::Set(scale);
    const Lanes left = Lanes::Set(static_cast<float>(seen - j));
    const Lanes value = Lanes::IfLess(index, left, scaled, hidden);
    value.Store(score + j);
    most = Lanes::Max(value, most);
  }
  const float tile_largest = most.Largest();
  const float largest = tile_largest > running.largest ? tile_largest : running.largest;
  // Only -infinity so far: any finite shift gives weights of zero instead of NaN.
  const Lanes shift = Lanes::Set(largest == -__builtin_inff() ? 0.0f : largest);
  Lanes sum = Lanes::Zero();
  for (int j = 0; j < kTile; j += Lanes::kWidth) {
    const Lanes weight = Exp(Lanes::Load(score + j) - shift);
    weight.Store(score + j);
    sum = sum + weight;
  }
  float correction[Lanes::kWidth];
  Exp(Lanes::Set(running.largest) - shift).Store(correction);
  running.largest = largest;
  running.total = running.total * correction[0] + sum.Sum();
  running.correction = correction[0];
}

// sum[i] = sum[i] * correction[i] + offset[i] + weights x values, for D vectors of the row from
// `at` on. The values of `next`, if any, are fetched meanwhile.
template <int Q, int D, class T>
inline void AddValues(const float* score, const TileRows<T>& rows, const TileRows<T>* next,
                      const int* seen, const Running* running, int64_t at, int64_t dim,
                      float* sum) {
  int common = seen[0];
  for (int i = 1; i < Q; ++i) common = seen[i] < common ? seen[i] : common;
  Lanes part[Q][D];
  for (int i = 0; i < Q; ++i) {
    for (int n = 0; n < D; ++n) part[i][n] = Lanes::Set(running[i].offset);
  }
  const bool fetches = next != nullptr && at == 0;
  for (int j = 0; j < common; ++j) {
    if (fetches) FetchValue(*next, j, dim);
    Lanes value[D];
    for (int n = 0; n < D; ++n) value[n] = Lanes::Load(rows.v[j] + at + n * Lanes::kWidth);
    for (int i = 0; i < Q; ++i) {
      const Lanes weight = Lanes::Set(score[i * kTile + j]);
      for (int n = 0; n < D; ++n) part[i][n] = Lanes::MulAdd(weight, value[n], part[i][n]);
    }
  }
  for (int i = 0; i < Q; ++i) {
    if (seen[i] == 0) continue;
    // A hidden value is never read, not even with weight zero: it may be NaN.
    for (int j = common; j < seen[i]; ++j) {
      const Lanes weight = Lanes::Set(score[i * kTile + j]);
      for (int n = 0; n < D; ++n) {
        const Lanes value = Lanes::Load(rows.v[j] + at + n * Lanes::kWidth);
        part[i][n] = Lanes::MulAdd(weight, value, part[i][n]);
      }
    }
    const Lanes correction = Lanes::Set(running[i].correction);
    for (int n = 0; n < D; ++n) {
      float* to = sum + i * dim + at + n * Lanes::kWidth;
      Lanes::MulAdd(Lanes::Load(to), correction, part[i][n]).Store(to);
    }
  }
}

// The same for the last, partial vector of one query.
template <class T>
inline void AddValuesPart(const float* score, const TileRows<T>& rows, int seen,
                          const Running& running, int64_t at, int count, float* sum) {
  Lanes part = Lanes::Set(running.offset);
  for (int j = 0; j < seen; ++j) {
    part = Lanes::MulAdd(Lanes::Set(score[j]), Lanes::LoadPart(rows.v[j] + at, count), part);
  }
  const Lanes before = Lanes::LoadPart(sum + at, count);
  Lanes::MulAdd(before, Lanes::Set(running.correction), part).StorePart(sum + at, count);
}

// One tile for Q queries; seen[i] of its positions are visible to query i.
template <int Q, class T>
inline void AddTile(const float* const* q, const float* scale, const TileRows<T>& rows,
                    const TileRows<T>* next, const int* seen, int64_t dim, Running* running,
                    float* score, float* sum) {
  int limit = 0;
  for (int i = 0; i < Q; ++i) limit = seen[i] > limit ? seen[i] : limit;
  if (limit == 0) return;
  Score<Q>(q, rows, next, limit, dim, score);
  for (int i = 0; i < Q; ++i) {
    if (seen[i] == 0) continue;
    float* const mine = score + i * kTile;
    if constexpr (kIsCoded<T>) ApplyKeyGrids(rows, running[i].query_sum, mine);
    Weigh(mine, seen[i], scale[i], running[i]);
    if constexpr (kIsCoded<T>) running[i].offset = ApplyValueGrids(rows, seen[i], mine);
  }
  constexpr int kWidth = Lanes::kWidth;
  int64_t at = 0;
  if constexpr (Q == 1) {
    for (; at + 8 * kWidth <= dim; at += 8 * kWidth) {
      AddValues<Q, 8>(score, rows, next, seen, running, at, dim, sum);
    }
  }
  for (; at + 4 * kWidth <= dim; at += 4 * kWidth) {
    AddValues<Q, 4>(score, rows, next, seen, running, at, dim, sum);
  }
  for (; at + kWidth <= dim; at += kWidth) {
    AddValues<Q, 1>(score, rows, next, seen, running, at, dim, sum);
  }
  if (at == dim) return;
  for (int i = 0; i < Q; ++i) {
    if (seen[i] == 0) continue;
    AddValuesPart(score + i * kTile, rows, seen[i], running[i], at, static_cast<int>(dim - at),
                  sum + i * dim);
  }
}

inline void Finish(const float* sum, float total, int64_t dim, float* y) {
  const Lanes divisor = Lanes::Set(total);
  const int64_t whole = dim - dim % Lanes::kWidth;
  for (int64_t d = 0; d < whole; d += Lanes::kWidth) (Lanes::Load(sum + d) / divisor).Store(y + d);
  const int tail = static_cast<int>(dim - whole);
  if (tail > 0) (Lanes::LoadPart(sum + whole, tail) / divisor).StorePart(y + whole, tail);
}

template <class T>
void Attend(const QueryBlock& block) {
  const int64_t dim = block.pages.dim;
  float* score = block.scratch;
  float* sum = block.scratch + kBlockQueries * kTile;
  Running running[kBlockQueries];
  int64_t longest = 0;
  for (int i = 0; i < block.queries; ++i) {
    if constexpr (kIsCoded<T>) running[i].query_sum = SumOf(block.q[i], dim);
    longest = block.visible[i] > longest ? block.visible[i] : longest;
  }
  for (int64_t n = 0; n < block.queries * dim; ++n) sum[n] = 0;

  TileRows<T> tiles[2];
  const auto find = [&](int64_t start) -> TileRows<T>& {
    TileRows<T>& rows = tiles[start / kTile % 2];
    FindRows(block, start, static_cast<int>(longest - start < kTile ? longest - start : kTile),
             rows);
    return rows;
  };
  TileRows<T>* rows = &find(0);
  for (int j = 0; j < kTile && j < longest; ++j) FetchKey(*rows, j, dim);
  for (int j = 0; j < kTile && j < longest; ++j) FetchValue(*rows, j, dim);
  for (int64_t start = 0; start < longest; start += kTile) {
    int seen[kBlockQueries];
    for (int i = 0; i < block.queries; ++i) {
      const int64_t left = block.visible[i] - start;
      seen[i] = static_cast<int>(left < 0 ? 0 : left < kTile ? left : kTile);
    }
    if constexpr (kIsCoded<T>) GatherGrids(*rows);
    TileRows<T>* next = start + kTile < longest ? &find(start + kTile) : nullptr;
    const TileRows<T>* fetched = next;  // once is enough
    int i = 0;
    for (; i + kShared <= block.queries; i += kShared, fetched = nullptr) {
      AddTile<kShared>(block.q + i, block.scale + i, *rows, fetched, seen + i, dim, running + i,
                       score + i * kTile, sum + i * dim);
    }
    for (; i < block.queries; ++i, fetched = nullptr) {
      AddTile<1>(block.q + i, block.scale + i, *rows, fetched, seen + i, dim, running + i,
                 score + i * kTile, sum + i * dim);
    }
    rows = next;
  }
  for (int i = 0; i < block.queries; ++i) {
    Finish(sum + i * dim, running[i].total, dim, block.y[i]);
  }
}

inline void (*AttendOver(DType cache))(const QueryBlock& block) {
  switch (cache) {
    case DType::kBF16:
      return Attend<BF16>;
    case DType::kF16:
      return Attend<F16>;
    case DType::kU8:
      return Attend<uint8_t>;
    default:
      return Attend<float>;
  }
}

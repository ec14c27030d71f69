// What a tile of a paged cache is made of. Included before kernel.inl, after Lanes.

// Keys and values are floats, or codes with a grid for each row (ops/cache_quantization).
template <class T>
constexpr bool kIsCoded = sizeof(T) == 1;

alignas(64) const float kIndex[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// The keys and values of one tile, wherever their pages are. Rows past `count` repeat the last.
template <class T>
struct TileRows {
  const T* k[kTile];
  const T* v[kTile];
  // Of codes only.
  const CacheGrid* k_grid[kTile];
  const CacheGrid* v_grid[kTile];
  F16 k_scale[kTile];
  F16 k_offset[kTile];
  F16 v_scale[kTile];
  F16 v_offset[kTile];
};

template <class T>
inline void FindRows(const QueryBlock& block, int64_t start, int count, TileRows<T>& rows) {
  const Pages& pages = block.pages;
  int64_t page = start / pages.block_size;
  int64_t slot = start % pages.block_size;
  for (int j = 0; j < kTile; ++j) {
    const int64_t row =
        (pages.blocks[page] * pages.kv_heads + block.kv_head) * pages.block_size + slot;
    rows.k[j] = reinterpret_cast<const T*>(block.k_cache) + row * pages.dim;
    rows.v[j] = reinterpret_cast<const T*>(block.v_cache) + row * pages.dim;
    if constexpr (kIsCoded<T>) {
      rows.k_grid[j] = block.k_grids + row;
      rows.v_grid[j] = block.v_grids + row;
    }
    if (j + 1 >= count) continue;
    if (++slot == pages.block_size) {
      slot = 0;
      ++page;
    }
  }
}

// Decoding waits for memory, and what the hardware fetches ahead ends with a page. Into the second
// cache: two tiles do not fit the first, and fetches into it wait for one another.
template <class T>
inline void FetchRow(const T* row, int64_t dim) {
  const char* bytes = reinterpret_cast<const char*>(row);
  const int64_t size = dim * static_cast<int64_t>(sizeof(T));
  for (int64_t at = 0; at < size; at += 64) __builtin_prefetch(bytes + at, 0, 2);
}

template <class T>
inline void FetchKey(const TileRows<T>& rows, int j, int64_t dim) {
  FetchRow(rows.k[j], dim);
  if constexpr (kIsCoded<T>) __builtin_prefetch(rows.k_grid[j], 0, 2);
}

template <class T>
inline void FetchValue(const TileRows<T>& rows, int j, int64_t dim) {
  FetchRow(rows.v[j], dim);
  if constexpr (kIsCoded<T>) __builtin_prefetch(rows.v_grid[j], 0, 2);
}

// Puts the numbers of each grid beside one another, for all queries of a block.
template <class T>
inline void GatherGrids(TileRows<T>& rows) {
  for (int j = 0; j < kTile; ++j) {
    rows.k_scale[j] = rows.k_grid[j]->scale;
    rows.k_offset[j] = rows.k_grid[j]->offset;
    rows.v_scale[j] = rows.v_grid[j]->scale;
    rows.v_offset[j] = rows.v_grid[j]->offset;
  }
}

// q . (scale * code + offset) = scale * (q . code) + offset * sum(q), given q . code.
template <class T>
inline void ApplyKeyGrids(const TileRows<T>& rows, float query_sum, float* score) {
  for (int j = 0; j < kTile; j += Lanes::kWidth) {
    const Lanes scaled = Lanes::Load(score + j) * Lanes::Load(rows.k_scale + j);
    Lanes::MulAdd(Lanes::Load(rows.k_offset + j), Lanes::Set(query_sum), scaled).Store(score + j);
  }
}

// sum of w * (scale * code + offset) = sum of (w * scale) * code + sum of w * offset: turns the
// weights into w * scale and returns the second sum. The grids of what is hidden may be NaN.
template <class T>
inline float ApplyValueGrids(const TileRows<T>& rows, int seen, float* weight) {
  const Lanes index = Lanes::Load(kIndex);
  Lanes sum = Lanes::Zero();
  for (int j = 0; j < kTile; j += Lanes::kWidth) {
    const Lanes left = Lanes::Set(static_cast<float>(seen - j));
    const Lanes w = Lanes::Load(weight + j);
    const Lanes offset = Lanes::Load(rows.v_offset + j);
    sum = Lanes::MulAdd(w, Lanes::IfLess(index, left, offset, Lanes::Zero()), sum);
    (w * Lanes::Load(rows.v_scale + j)).Store(weight + j);
  }
  return sum.Sum();
}

inline float SumOf(const float* x, int64_t count) {
  Lanes sum = Lanes::Zero();
  const int64_t whole = count - count % Lanes::kWidth;
  for (int64_t i = 0; i < whole; i += Lanes::kWidth) sum = sum + Lanes::Load(x + i);
  const int tail = static_cast<int>(count - whole);
  if (tail > 0) sum = sum + Lanes::LoadPart(x + whole, tail);
  return sum.Sum();
}

// quantizeActivations in plain loops, for the compiler to vectorize with the instructions of the
// region it is included in. Every step is an IEEE operation on one element or on integers, so all
// regions give the same bits.

// Adding this rounds a float of magnitude below 2^22 to an integer, to even, in its low bits.
constexpr float kRounder = 0x1.8p23f;

struct BlockSummary {
  float scale;
  int32_t sum;
};

// Codes of one block in the order of places.
inline BlockSummary QuantizeBlock(const float* x, int64_t count, float largest_code,
                                  int32_t* codes) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = __builtin_bit_cast(uint32_t, x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  if (largest == 0 || largest >= 0x7f800000u) {
    for (int64_t i = 0; i < count; ++i) codes[i] = 0;
    return {largest == 0 ? 0.0f : __builtin_nanf(""), 0};
  }
  const float most = __builtin_bit_cast(float, largest);
  int32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    // Divided first: largest_code / most would overflow for a tiny `most`.
    const float rounded = x[i] / most * largest_code + kRounder;
    codes[i] = __builtin_bit_cast(int32_t, rounded) - __builtin_bit_cast(int32_t, kRounder);
    sum += codes[i];
  }
  return {most / largest_code, sum};
}

// Pairs as they come out of words of kCodes codes: place j and j + kCodes / 2.
template <int kCodes>
inline void PairCodes(const int32_t* codes, int64_t count, int32_t* pairs) {
  constexpr int kHalf = kCodes / 2;
  for (int64_t word = 0; word < count / kCodes; ++word) {
    for (int j = 0; j < kHalf; ++j) {
      const uint32_t low = static_cast<uint32_t>(codes[word * kCodes + j]) & 0xffffu;
      const uint32_t high = static_cast<uint32_t>(codes[word * kCodes + kHalf + j]) << 16;
      pairs[word * kHalf + j] = static_cast<int32_t>(low | high);
    }
  }
}

// The same in fours: every kStep-th of 4 * kStep codes, kStep sets of them.
template <int kStep>
inline void PackBytes(const int32_t* codes, int64_t count, int32_t* fours) {
  for (int64_t set = 0; set < count / 4; ++set) {
    const int32_t* from = codes + set / kStep * kStep * 4 + set % kStep;
    uint32_t four = 0;
    for (int i = 0; i < 4; ++i) {
      four |= (static_cast<uint32_t>(from[i * kStep]) & 0xffu) << (8 * i);
    }
    fours[set] = static_cast<int32_t>(four);
  }
}

// Bytes 0, 2, 4, 6 of eight, side by side.
inline uint64_t EvenBytes(uint64_t bytes) {
  bytes &= 0x00ff00ff00ff00ffu;
  bytes = (bytes | bytes >> 8) & 0x0000ffff0000ffffu;
  return (bytes | bytes >> 16) & 0xffffffffu;
}

// kHalves; eight or four bytes at a time, since this is half of the work of rounding a row.
template <int kStep>
inline void PackHalves(const int32_t* codes, int64_t count, int32_t* fours) {
  uint8_t lower[kLargestPackedBlock];
  uint8_t upper[kLargestPackedBlock];
  for (int64_t i = 0; i < count; ++i) lower[i] = static_cast<uint8_t>(codes[i]);
  for (int64_t i = 0; i < count; ++i) upper[i] = static_cast<uint8_t>((codes[i] + 128) >> 8);
  for (int64_t set = 0; set < count / (4 * kStep); ++set) {
    uint64_t low = 0;
    uint64_t high = 0;
    __builtin_memcpy(&low, lower + set * 4 * kStep, 4 * kStep);
    __builtin_memcpy(&high, upper + set * 4 * kStep, 4 * kStep);
    uint64_t both[kStep];
    if constexpr (kStep == 1) {
      both[0] = low | high << 32;
    } else {
      both[0] = EvenBytes(low) | EvenBytes(high) << 32;
      both[1] = EvenBytes(low >> 8) | EvenBytes(high >> 8) << 32;
    }
    __builtin_memcpy(fours + set * 2 * kStep, both, sizeof both);
  }
}

inline void StoreCodes(const QuantizeActivationsArgs& args, const int32_t* codes, int32_t* to) {
  const int64_t size = args.block_size;
  const bool is_packed_twice = args.bits == 4;
  switch (args.y.form) {
    case CodeForm::kBytes:
      return is_packed_twice ? PackBytes<2>(codes, size, to) : PackBytes<1>(codes, size, to);
    case CodeForm::kHalves:
      return is_packed_twice ? PackHalves<2>(codes, size, to) : PackHalves<1>(codes, size, to);
    default:
      return is_packed_twice ? PairCodes<8>(codes, size, to) : PairCodes<4>(codes, size, to);
  }
}

// The inputs at places [first, first + count), 0 where there is none.
inline void GatherPlaces(const QuantizeActivationsArgs& args, const float* x, int64_t first,
                         int64_t count, float* places) {
  const int64_t in = args.x.shape[1];
  if (args.order.empty()) {
    const int64_t left = in - first < 0 ? 0 : in - first;
    const int64_t inside = left < count ? left : count;
    for (int64_t i = 0; i < inside; ++i) places[i] = x[first + i];
    for (int64_t i = inside; i < count; ++i) places[i] = 0;
    return;
  }
  const int32_t* order = args.order.As<const int32_t>() + first;
  for (int64_t i = 0; i < count; ++i) {
    places[i] = order[i] >= 0 && order[i] < in ? x[order[i]] : 0.0f;
  }
}

void QuantizeRows(const QuantizeActivationsArgs& args, int64_t begin, int64_t end) {
  const int64_t blocks = args.y.scales.shape[1];
  const int64_t size = args.block_size;
  float places[kLargestPackedBlock];
  int32_t codes[kLargestPackedBlock];
  for (int64_t row = begin; row < end; ++row) {
    const float* x = args.x.Row<const float>(row);
    int32_t* to = args.y.codes.Row<int32_t>(row);
    for (int64_t b = 0; b < blocks;
         ++b, to += args.y.form == CodeForm::kBytes ? size / 4 : size / 2) {
      GatherPlaces(args, x, b * size, size, places);
      const BlockSummary summary =
          QuantizeBlock(places, size, static_cast<float>(args.largest), codes);
      args.y.scales.Row<float>(row)[b] = summary.scale;
      args.y.sums.Row<int32_t>(row)[b] = summary.sum;
      StoreCodes(args, codes, to);
    }
  }
}

#pragma once

#include "ops/attention/cuda_view.h"
#include "ops/gemm/bf16_parts.h"

// What a warp does with kWarpQueries queries and a tile of positions, on tensor cores. Its 32 lanes
// hold sums as MmaBf16 has them: with g = lane / 4 and t = lane % 4, those of queries g and g + 8
// and, of every eight positions (or elements), 2t and 2t + 1.
//
// Tensor cores multiply zero with infinity too, where another part or another query has nothing to
// do with it. So infinity and NaN are zero in what they get, and the positions that have some are
// done on their own (`odd`), for the queries that see them.
namespace kernels::cuda {

constexpr int kWarpQueries = 16;
constexpr int kQueryParts = 3;
constexpr int kColumns = kTile / 8;  // groups of eight positions
constexpr int kSteps = kTile / 16;   // of 16 positions that one product takes

template <class T>
constexpr int kParts = std::is_same_v<T, float> ? 3
                       : std::is_same_v<T, F16> ? 2
                                                : 1;

constexpr int kElementGroups = 4;  // of eight elements of values that are summed at a time

// Whole groups of elements, and whole products along a query.
__host__ __device__ constexpr int PaddedDim(int dim) {
  return (dim + 31) / 32 * 32;
}
// Words of two elements of a row in shared memory. Eight rows are read at once, four words of each:
// with four words between rows they are in different banks.
__host__ __device__ constexpr int RowWords(int dim) {
  return PaddedDim(dim) / 2 + 4;
}

// Two neighbours in parts; true where one of them is not finite, which becomes zero.
template <class T>
__device__ __forceinline__ bool SplitFinite(T first, T second, uint32_t words[kParts<T>]) {
  float low = Widen(first);
  float high = Widen(second);
  if constexpr (kIsCoded<T>) {
    SplitPair<1>(low, high, words);
    return false;
  } else {
    const bool low_is_odd = !IsFinite(low);
    const bool high_is_odd = !IsFinite(high);
    low = low_is_odd ? 0.0f : low;
    high = high_is_odd ? 0.0f : high;
    SplitPair<kParts<T>>(low, high, words);
    return low_is_odd || high_is_odd;
  }
}

// Calls f(query part, part) for the products that matter, small ones first.
template <int kOtherParts, class F>
__device__ __forceinline__ void ForProducts(const F& f) {
#pragma unroll
  for (int both = 2; both >= 0; --both) {
#pragma unroll
    for (int part = 0; part < kOtherParts; ++part) {
      if (part <= both) f(both - part, part);
    }
  }
}

// The union of all lanes' sets of positions.
__device__ inline uint64_t WarpUnion(uint64_t set) {
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) set |= __shfl_xor_sync(kAllLanes, set, mask);
  return set;
}

// Queries in shared memory, in parts: [kQueryParts, rows, RowWords(dim)].
struct QueryWords {
  const uint32_t* words;
  int rows;

  __device__ uint32_t At(int part, int row, int dim, int word) const {
    return words[(part * rows + row) * RowWords(dim) + word];
  }
};

// Splits the query at `from` (zero if null) into row `row`, by a warp.
__device__ inline void StoreQuery(const float* from, int dim, uint32_t* words, int rows, int row) {
  for (int w = threadIdx.x % kWarpSize; w < PaddedDim(dim) / 2; w += kWarpSize) {
    const float low = from != nullptr && 2 * w < dim ? from[2 * w] : 0.0f;
    const float high = from != nullptr && 2 * w + 1 < dim ? from[2 * w + 1] : 0.0f;
    uint32_t parts[kQueryParts];
    SplitPair<kQueryParts>(low, high, parts);
    for (int part = 0; part < kQueryParts; ++part)
      words[(part * rows + row) * RowWords(dim) + w] = parts[part];
  }
}

// score = q . k for the queries from `first` on. keys(column, word, parts) gives two neighbouring
// elements of key 8 column + g.
template <class T, class Keys>
__device__ __forceinline__ void Score(const QueryWords& queries, int first, int dim,
                                      const Keys& keys, float (&score)[kColumns][4]) {
  const auto [g, t] = PlaceOfLane();
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
    for (int i = 0; i < 4; ++i) score[column][i] = 0;
  }
  const bool has_upper = first + 8 < queries.rows;
  for (int step = 0; step < PaddedDim(dim) / 16; ++step) {
    const int word = step * 8 + t;
    uint32_t b[kColumns][kParts<T>][2];
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
      for (int i = 0; i < 2; ++i) {
        uint32_t parts[kParts<T>];
        keys(column, word + 4 * i, parts);
        for (int part = 0; part < kParts<T>; ++part) b[column][part][i] = parts[part];
      }
    }
    uint32_t a[kQueryParts][4];
#pragma unroll
    for (int part = 0; part < kQueryParts; ++part) {
      a[part][0] = queries.At(part, first + g, dim, word);
      a[part][1] = has_upper ? queries.At(part, first + g + 8, dim, word) : 0;
      a[part][2] = queries.At(part, first + g, dim, word + 4);
      a[part][3] = has_upper ? queries.At(part, first + g + 8, dim, word + 4) : 0;
    }
    ForProducts<kParts<T>>([&](int query_part, int part) {
#pragma unroll
      for (int column = 0; column < kColumns; ++column)
        MmaBf16(score[column], a[query_part], b[column][part]);
    });
  }
}

// The scores of odd keys, on their own. query(row) and key(j) are addresses; null for what is not
// there.
template <class Query, class Key>
__device__ __forceinline__ void ScoreOdd(uint64_t odd, int dim, const Query& query, const Key& key,
                                         float (&score)[kColumns][4]) {
  const auto [g, t] = PlaceOfLane();
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int j = column * 8 + 2 * t + i % 2;
      const float* q = query(g + i / 2 * 8);
      const auto* k = key(j);
      if ((odd >> j & 1) == 0 || q == nullptr || k == nullptr) continue;
      float sum = 0;
      for (int d = 0; d < dim; ++d) sum = __fmaf_rn(q[d], Widen(k[d]), sum);
      score[column][i] = sum;
    }
  }
}

// The sum, or the largest, over the four lanes that share a query.
__device__ inline float QuadSum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}
__device__ inline float QuadMax(float value) {
  for (int mask = 1; mask <= 2; mask *= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, mask);
    value = other > value ? other : value;
  }
  return value;
}

// Turns the dot products of query g + 8 kHalf into weights relative to the largest, of which the
// first `seen` count. With codes
//   q . (scale * code + offset) = scale * (q . code) + offset * sum(q)
//   sum of w * (scale * code + offset) = sum of (w * scale) * code + sum of w * offset
// so the weights are to be multiplied with codes then.
template <class T, int kHalf>
__device__ __forceinline__ TileSums Weigh(float (&score)[kColumns][4], int seen, float scale,
                                          float query_sum, const TileGrids& grids) {
  const int first = 2 * PlaceOfLane().t;
  float most = -INFINITY;
#pragma unroll
  for (int i = 0; i < 2 * kColumns; ++i) {
    const int j = i / 2 * 8 + first + i % 2;
    float value = score[i / 2][2 * kHalf + i % 2];
    if constexpr (kIsCoded<T>)
      value = __fmaf_rn(grids.k_offset[j], query_sum, value * grids.k_scale[j]);
    value = j < seen ? value * scale : -INFINITY;
    most = value > most ? value : most;  // leaves NaN out, which the sum will have
    score[i / 2][2 * kHalf + i % 2] = value;
  }
  most = QuadMax(most);
  // Only -infinity: any finite shift gives weights of zero instead of NaN.
  const float shift = most == -INFINITY ? 0.0f : most;
  float sum = 0;
  float offset = 0;
#pragma unroll
  for (int i = 0; i < 2 * kColumns; ++i) {
    const int j = i / 2 * 8 + first + i % 2;
    float& place = score[i / 2][2 * kHalf + i % 2];
    float weight = j < seen ? Exp(place - shift) : 0.0f;
    sum += weight;
    if constexpr (kIsCoded<T>) {
      // What is hidden may have a grid of NaN.
      if (j < seen) offset = __fmaf_rn(weight, grids.v_offset[j], offset);
      if (j < seen) weight *= grids.v_scale[j];
    }
    place = weight;
  }
  sum = QuadSum(sum);
  if constexpr (kIsCoded<T>) offset = QuadSum(offset);
  return {most, sum, offset};
}

// Weights as a product takes them.
using WeightWords = uint32_t[kSteps][kQueryParts][4];

__device__ __forceinline__ void SplitWeights(const float (&weight)[kColumns][4],
                                             WeightWords& words) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // Registers 0 and 1 have positions 0 to 7 of the step, of queries g and g + 8.
      const float* pair = weight[2 * step + i / 2] + i % 2 * 2;
      uint32_t parts[kQueryParts];
      SplitPair<kQueryParts>(pair[0], pair[1], parts);
      for (int part = 0; part < kQueryParts; ++part) words[step][part][i] = parts[part];
    }
  }
}

// The weight of position j for query g + 8 half, from the lane that has it; j is the same in all
// lanes. The parts of a weight add up to it exactly.
__device__ __forceinline__ float WeightOf(const WeightWords& words, int j, int half) {
  uint32_t picked[kQueryParts] = {};
  // By comparison: registers have no index.
#pragma unroll
  for (int k = 0; k < kQueryParts * 4 * kSteps; ++k) {
    const int step = k / 4 % kSteps;
    const bool is_it = step == j / 16 && k % 4 == j % 16 / 8 * 2 + half;
    const uint32_t word = words[step][k / (4 * kSteps)][k % 4];
    picked[k / (4 * kSteps)] |= is_it ? word : 0;
  }
  float weight = 0;
#pragma unroll
  for (int part = kQueryParts - 1; part >= 0; --part)
    weight += __uint_as_float(j % 2 == 0 ? picked[part] << 16 : picked[part] & 0xffff0000u);
  return __shfl_sync(kAllLanes, weight, threadIdx.x % kWarpSize / 4 * 4 + j % 8 / 2);
}

// sum += weights x values for elements 8 group to 8 (group + kElementGroups). values(group, word,
// parts) gives positions 2 word and 2 word + 1 of element 8 group + g.
template <class T, class Values>
__device__ __forceinline__ void SumValues(const WeightWords& weights, int group,
                                          const Values& values, float (&sum)[kElementGroups][4]) {
  const int t = PlaceOfLane().t;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    uint32_t b[kElementGroups][kParts<T>][2];
#pragma unroll
    for (int n = 0; n < kElementGroups; ++n) {
      for (int i = 0; i < 2; ++i) {
        uint32_t parts[kParts<T>];
        values(group + n, step * 8 + t + 4 * i, parts);
        for (int part = 0; part < kParts<T>; ++part) b[n][part][i] = parts[part];
      }
    }
    ForProducts<kParts<T>>([&](int weight_part, int part) {
#pragma unroll
      for (int n = 0; n < kElementGroups; ++n)
        MmaBf16(sum[n], weights[step][weight_part], b[n][part]);
    });
  }
}

// Odd values, on their own, for the queries that see them; value(j) is an address.
template <class Value>
__device__ __forceinline__ void SumOddValues(uint64_t odd, const WeightWords& weights, int group,
                                             const int (&seen)[2], int dim, const Value& value,
                                             float (&sum)[kElementGroups][4]) {
  const int t = PlaceOfLane().t;
  for (int j = 0; j < kTile; ++j) {
    if ((odd >> j & 1) == 0) continue;
    const auto* v = value(j);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float weight = WeightOf(weights, j, half);
      if (j >= seen[half] || v == nullptr) continue;
#pragma unroll
      for (int n = 0; n < kElementGroups; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const int d = (group + n) * 8 + 2 * t + c;
          const bool is_odd = d < dim && !IsFinite(Widen(v[d]));
          if (is_odd) sum[n][2 * half + c] += weight * Widen(v[d]);
        }
      }
    }
  }
}

}  // namespace kernels::cuda

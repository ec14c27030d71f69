#pragma once

#include <algorithm>

#include "cuda/numbers.h"

// Searching a row without sorting it, by one block: where, going through scores from the highest
// score down or through them as they stand, a sum of something reaches a target. Sums are in double
// and in an order that the number of scores decides.
namespace kernels::cuda {

constexpr unsigned kSampleThreads = 512;
constexpr int kSampleWarps = kSampleThreads / kWarpSize;
constexpr int kDigitBits = 4;
constexpr int kDigits = 1 << kDigitBits;
static_assert(kDigits == kSampleWarps);  // a warp adds up what belongs to one digit
constexpr size_t kDigitBytes = kDigits * kSampleThreads * sizeof(double);

// The score of an OrderedKey.
__device__ inline float ScoreOf(uint32_t key) {
  return __uint_as_float((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

// Scores of a row: all of them, or those of some ids, in the order of ids.
struct Scores {
  const float* values;
  const int32_t* ids;  // null for all
  int64_t count;

  __device__ int32_t Id(int64_t at) const {
    return ids == nullptr ? static_cast<int32_t>(at) : ids[at];
  }
};

// f(index, score) for a thread's share of the scores; several are loaded before one is used.
template <class F>
__device__ void ForScores(const Scores& scores, F f) {
  constexpr int kTogether = 8;
  int64_t at = threadIdx.x;
  for (; at + (kTogether - 1) * int64_t{kSampleThreads} < scores.count;
       at += kTogether * int64_t{kSampleThreads}) {
    float loaded[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      loaded[i] = scores.values[at + i * int64_t{kSampleThreads}];
    }
    for (int i = 0; i < kTogether; ++i) f(at + i * int64_t{kSampleThreads}, loaded[i]);
  }
  for (; at < scores.count; at += kSampleThreads) f(at, scores.values[at]);
}

struct Target {
  double value;
  bool is_exceeded;  // whether a sum has to be above the value, or only at it

  __device__ bool IsReachedBy(double sum) const { return is_exceeded ? sum > value : sum >= value; }
};

// Measures of scores by digit, 0 to 15, added up in totals[digit]; scores of digit -1 do not
// count. `sums` is dynamic shared memory of kDigitBytes.
template <class Digit, class Measure>
__device__ void AddByDigit(const Scores& scores, Digit digit_of, Measure measure, double* sums,
                           double* totals) {
  for (int digit = 0; digit < kDigits; ++digit) sums[digit * kSampleThreads + threadIdx.x] = 0;
  ForScores(scores, [&](int64_t, float score) {
    const int digit = digit_of(score);
    if (digit >= 0) sums[digit * kSampleThreads + threadIdx.x] += measure(score);
  });
  __syncthreads();
  const unsigned digit = threadIdx.x / kWarpSize;
  double sum = 0;
  for (unsigned i = threadIdx.x % kWarpSize; i < kSampleThreads; i += kWarpSize) {
    sum += sums[digit * kSampleThreads + i];
  }
  sum = WarpSum(sum);
  if (threadIdx.x % kWarpSize == 0) totals[digit] = sum;
  __syncthreads();
}

// The highest digit at which a sum from above reaches the target, and the sum before it. Where
// rounding keeps it from being reached, the lowest digit that has anything.
struct DigitFound {
  int digit = 0;
  double before = 0;
};
__device__ inline DigitFound FindDigit(const double* totals, double before, const Target& target) {
  DigitFound found{0, before};
  double sum = before;
  for (int digit = kDigits - 1; digit >= 0; --digit) {
    if (!(totals[digit] > 0)) continue;
    found = {digit, sum};
    sum += totals[digit];
    if (target.IsReachedBy(sum)) break;
  }
  return found;
}

// A place in the order of scores, highest first, equal ones as they stand.
struct Place {
  uint32_t key;
  double nth;     // among the scores of that key, from 1
  double before;  // the measure of all scores of higher keys
};

// Where the sum of measures, of which equal scores have equal ones, reaches the target.
template <class Measure>
__device__ Place FindByScore(const Scores& scores, Measure measure, const Target& target,
                             double* sums) {
  using Totals = double[kDigits];
  SHARED(Totals, totals);
  uint32_t prefix = 0;
  DigitFound found;
  double total = 0;
  for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
    const auto digit_of = [&](float score) {
      const uint64_t key = OrderedKey(score);
      return key >> (shift + kDigitBits) == prefix ? static_cast<int>(key >> shift) & (kDigits - 1)
                                                   : -1;
    };
    AddByDigit(scores, digit_of, measure, sums, totals);
    found = FindDigit(totals, found.before, target);
    total = totals[found.digit];
    prefix = prefix << kDigitBits | static_cast<uint32_t>(found.digit);
  }
  const double each = measure(ScoreOf(prefix));
  const double missing = (target.value - found.before) / each;
  const double nth = target.is_exceeded ? floor(missing) + 1 : ceil(missing);
  return {prefix, fmax(1.0, fmin(nth, rint(total / each))), found.before};
}

// Where, going through `count` scores as they stand, the sum of f(index) first exceeds `fixed` plus
// `share` of the sum over all; the last score with a positive f if rounding keeps it from that.
template <class F>
__device__ int64_t FindAsTheyStand(int64_t count, F f, double fixed, double share) {
  using Parts = double[2][kSampleWarps];
  SHARED(Parts, parts);
  int64_t begin = 0;
  int64_t end = count;
  double before = 0;
  double target = fixed;
  for (int round = 0; end - begin > 1 || round == 0; ++round) {
    const int64_t length = CeilDivide(end - begin, kSampleWarps);
    const unsigned warp = threadIdx.x / kWarpSize;
    const int64_t stop = std::min(end, begin + (warp + 1) * length);
    double sum = 0;
    for (int64_t i = begin + warp * length + threadIdx.x % kWarpSize; i < stop; i += kWarpSize) {
      sum += f(i);
    }
    sum = WarpSum(sum);
    double* part = parts[round % 2];
    if (threadIdx.x % kWarpSize == 0) part[warp] = sum;
    __syncthreads();
    if (round == 0) {
      double total = 0;
      for (int i = 0; i < kSampleWarps; ++i) total += part[i];
      target += share * total;
    }
    int chosen = 0;
    double reached = before;
    for (int i = 0; i < kSampleWarps; ++i) {
      if (!(part[i] > 0)) continue;
      chosen = i;
      before = reached;
      reached += part[i];
      if (reached > target) break;
    }
    begin += chosen * length;
    end = std::min(end, begin + length);
  }
  return begin;
}

// The scores that a test accepts, of a row's all, written to memory for as many.
template <class Accepts>
__device__ Scores Collect(const Scores& all, Accepts accepts, float* values, int32_t* ids) {
  using Counts = int64_t[kSampleWarps];
  SHARED(Counts, counts);
  const unsigned warp = threadIdx.x / kWarpSize;
  const unsigned lane = threadIdx.x % kWarpSize;
  const int64_t length = CeilDivide(CeilDivide(all.count, kSampleWarps), kWarpSize) * kWarpSize;
  const int64_t begin = std::min(all.count, warp * length);
  const int64_t end = std::min(all.count, begin + length);
  int64_t accepted = 0;
  for (int64_t i = begin + lane; i < end; i += kWarpSize) accepted += accepts(all.values[i]);
  accepted = WarpSum(accepted);
  if (lane == 0) counts[warp] = accepted;
  __syncthreads();
  int64_t to = 0;
  int64_t total = 0;
  for (unsigned i = 0; i < kSampleWarps; ++i) {
    to += i < warp ? counts[i] : 0;
    total += counts[i];
  }
  for (int64_t i = begin; i < end; i += kWarpSize) {
    const bool is_in = i + lane < end && accepts(all.values[i + lane]);
    const unsigned votes = __ballot_sync(kAllLanes, is_in);
    if (is_in) {
      const int64_t at = to + __popc(votes & ((1u << lane) - 1));
      values[at] = all.values[i + lane];
      ids[at] = static_cast<int32_t>(i + lane);
    }
    to += __popc(votes);
  }
  __syncthreads();
  return {values, ids, total};
}

}  // namespace kernels::cuda

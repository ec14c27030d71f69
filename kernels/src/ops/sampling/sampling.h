#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/tensor.h"

namespace kernels {

// How one row's id is chosen. Doubles, because a seed has to give what it gives where the same is
// computed in JavaScript (runtime/generation/sampler.ts): their bits travel as i64.
struct SamplingOptions {
  double temperature;         // 0 is greedy
  double top_k;               // a whole number, 0 is off, 1 is greedy
  double top_p;               // 1 is off
  double min_p;               // 0 is off
  double repetition_penalty;  // 1 is off
  double presence_penalty;
  double frequency_penalty;
  double uniform;  // the random number, in [0, 1)

  constexpr bool is_greedy() const { return temperature == 0 || top_k == 1; }
};
constexpr int64_t kSamplingOptions = sizeof(SamplingOptions) / sizeof(double);

// In the place of an id that cannot be chosen.
enum NoId : int32_t { kIdOfNaN = -1, kIdOfNothing = -2, kIdOfInfinity = -3 };

// y[r] = an id below `limit`, drawn by the logits of row r; or -1 where one of them is NaN, -2
// where all are -infinity, -3 where one is +infinity, all with penalties applied.
struct SampleArgs {
  Tensor logits;  // [rows, width] f32
  int64_t limit;
  Tensor options;  // [rows, kSamplingOptions] i64, the bits of SamplingOptions
  // Row r has seen the ids [seen_begin[r], seen_begin[r + 1]) of the list, each once; ids that are
  // not below `limit` count for nothing. A range outside the list is a device fault.
  Tensor seen_begin;  // [rows + 1] i32
  Tensor seen_ids;    // [capacity] i32
  Tensor seen_times;  // [capacity] i32, how often the id was generated, 0 if it was only given
  Tensor y;           // [rows] i32, out
};
void CheckSample(const SampleArgs& args);
void Sample(const Context& context, const SampleArgs& args);

// A logit of an id that was seen. Each step is rounded to f32, as where scores are kept in that.
constexpr float Penalize(float logit, int32_t times, const SamplingOptions& options) {
  float score = logit;
  if (options.repetition_penalty != 1) {
    score = static_cast<float>(logit < 0 ? logit * options.repetition_penalty
                                         : logit / options.repetition_penalty);
  }
  if (options.presence_penalty == 0 && options.frequency_penalty == 0) return score;
  for (int32_t i = 0; i < times; ++i) {
    score = static_cast<float>(score - options.frequency_penalty -
                               (i == 0 ? options.presence_penalty : 0));
  }
  return score;
}

}  // namespace kernels

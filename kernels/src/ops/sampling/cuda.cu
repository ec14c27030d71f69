#include "ops/sampling/cuda_search.h"
#include "ops/sampling/sampling.h"

// One block for each row. What the reference finds by popping a heap, a search over the bits of
// scores finds here: top-k, top-p and min-p each cut the order of scores at a place, and the drawn
// id is a place too.
namespace kernels::cuda {

namespace {

const int32_t kSeen = RegisterFault("sample: seen_begin");

struct Operands {
  Matrix<const float> logits;
  int64_t limit;
  const SamplingOptions* options;
  const int32_t* seen_begin;
  const int32_t* seen_ids;
  const int32_t* seen_times;
  int64_t capacity;
  FaultSink faults;
  // Scratch, [rows, limit] each
  float* penalized;
  float* candidates;
  int32_t* candidate_ids;
  int32_t* y;
};

// exp((score - best) / temperature): the most likely id's weight is 1.
struct Weight {
  double best;
  double temperature;
  __device__ double operator()(float score) const {
    return exp((double{score} - best) / temperature);
  }
};

struct One {
  __device__ double operator()(float) const { return 1; }
};

// The row's logits, or a copy where penalties change some of them.
__device__ Scores Penalized(const Operands& operands, const SamplingOptions& options) {
  const int64_t row = blockIdx.x;
  const Scores logits{operands.logits.Row(row), nullptr, operands.limit};
  const int64_t begin = operands.seen_begin[row];
  const int64_t end = operands.seen_begin[row + 1];
  if (begin < 0 || begin > operands.capacity) {
    if (threadIdx.x == 0) operands.faults.Report(row, begin, 0, operands.capacity + 1);
    return logits;
  }
  if (end < begin || end > operands.capacity) {
    if (threadIdx.x == 0) operands.faults.Report(row + 1, end, begin, operands.capacity + 1);
    return logits;
  }
  if (begin == end) return logits;
  float* scores = operands.penalized + row * operands.limit;
  ForScores(logits, [&](int64_t id, float logit) { scores[id] = logit; });
  __syncthreads();
  for (int64_t i = begin + threadIdx.x; i < end; i += kSampleThreads) {
    const int32_t id = operands.seen_ids[i];
    if (id < 0 || id >= operands.limit) continue;
    scores[id] = Penalize(logits.values[id], operands.seen_times[i], options);
  }
  __syncthreads();
  return {scores, nullptr, operands.limit};
}

// The id of the highest score, the first of equals; a NoId where none can be chosen.
__device__ int32_t BestOf(const Scores& scores) {
  uint64_t best = 0;
  ForScores(scores, [&](int64_t id, float score) {
    const uint64_t rank = RankOf(score, id);
    best = rank > best ? rank : best;
  });
  best = BlockMax(best);
  const float score = ScoreOf(KeyOfRank(best));
  if (score != score) return kIdOfNaN;
  if (score == -INFINITY) return kIdOfNothing;
  if (score == INFINITY) return kIdOfInfinity;
  return IndexOfRank(best);
}

// A block's memory for what it draws from top-k or top-p.
struct Workspace {
  float* values;  // [limit]
  int32_t* ids;   // [limit]
  double* sums;   // shared, kDigitBytes
};

// What is drawn from: all above a place and that, and their mass.
struct Kept {
  Place last;
  double mass;
};

__device__ bool IsBehind(const Place& a, const Place& b) {
  return a.key < b.key || (a.key == b.key && a.nth > b.nth);
}

__device__ Kept KeepTopK(const Scores& scores, double top_k, const Weight& weight, double* sums) {
  const Place last = FindByScore(scores, One{}, {top_k, false}, sums);
  double above = 0;
  ForScores(scores, [&](int64_t, float score) {
    above += OrderedKey(score) > last.key ? weight(score) : 0;
  });
  return {last, BlockSum(above) + last.nth * weight(ScoreOf(last.key))};
}

__device__ Kept KeepTopP(const Scores& scores, double mass, const Weight& weight, double* sums) {
  const Place last = FindByScore(scores, weight, {mass, false}, sums);
  return {last, last.before + last.nth * weight(ScoreOf(last.key))};
}

__device__ Kept KeepLikely(const Scores& scores, double min_p, const Weight& weight) {
  double mass = 0;
  uint64_t lowest = 0;  // inverted
  ForScores(scores, [&](int64_t, float score) {
    const double each = weight(score);
    if (!(each >= min_p)) return;
    mass += each;
    const uint64_t inverted = ~OrderedKey(score);
    lowest = inverted > lowest ? inverted : lowest;
  });
  mass = BlockSum(mass);
  const auto key = ~static_cast<uint32_t>(BlockMax(lowest));
  return {{key, static_cast<double>(scores.count), 0}, mass};
}

// Scores enough for top-k or top-p, most often a few hundred of a vocabulary. Digits are of two
// nats of likelihood each. `total` is the weight of all, where top-p is a share of that.
__device__ Scores Candidates(const Scores& all, const SamplingOptions& options, bool uses_top_k,
                             const Weight& weight, const Workspace& space, double* total) {
  using Totals = double[kDigits];
  SHARED(Totals, totals);
  const auto digit_of = [&](float score) {
    const double nats = (weight.best - double{score}) / weight.temperature;
    return kDigits - 1 - static_cast<int>(fmin(fmax(nats / 2, 0.0), kDigits - 1.0));
  };
  if (uses_top_k) {
    AddByDigit(all, digit_of, One{}, space.sums, totals);
  } else {
    AddByDigit(all, digit_of, weight, space.sums, totals);
  }
  *total = 0;
  for (int digit = 0; digit < kDigits; ++digit) *total += totals[digit];
  const double enough = uses_top_k ? options.top_k : options.top_p * *total;
  const int lowest = FindDigit(totals, 0, {enough, false}).digit;
  if (lowest == 0) return all;
  const auto accepts = [&](float score) { return digit_of(score) >= lowest; };
  return Collect(all, accepts, space.values, space.ids);
}

__device__ int32_t DrawFromTop(const Scores& all, const SamplingOptions& options, bool uses_top_k,
                               const Weight& weight, const Workspace& space) {
  double* sums = space.sums;
  double total;
  const Scores scores = Candidates(all, options, uses_top_k, weight, space, &total);
  Kept kept;
  if (uses_top_k) {
    kept = KeepTopK(scores, options.top_k, weight, sums);
    if (options.top_p < 1) {
      const Kept likely = KeepTopP(scores, options.top_p * kept.mass, weight, sums);
      if (IsBehind(kept.last, likely.last)) kept = likely;
    }
  } else {
    kept = KeepTopP(scores, options.top_p * total, weight, sums);
  }
  if (weight(ScoreOf(kept.last.key)) < options.min_p) {
    kept = KeepLikely(scores, options.min_p, weight);
  }
  Place drawn = FindByScore(scores, weight, {options.uniform * kept.mass, true}, sums);
  if (IsBehind(drawn, kept.last)) drawn = kept.last;
  const auto is_equal = [&](int64_t at) {
    return OrderedKey(scores.values[at]) == drawn.key ? 1.0 : 0.0;
  };
  return scores.Id(FindAsTheyStand(scores.count, is_equal, drawn.nth - 1, 0));
}

__device__ int32_t DrawFromAll(const Scores& scores, const SamplingOptions& options,
                               const Weight& weight) {
  const auto likely_weight = [&](int64_t at) {
    const double each = weight(scores.values[at]);
    return each >= options.min_p ? each : 0;
  };
  return scores.Id(FindAsTheyStand(scores.count, likely_weight, 0, options.uniform));
}

__global__ void __launch_bounds__(kSampleThreads, 1) SampleKernel(Operands operands) {
  DYNAMIC_SHARED(double, sums);
  const int64_t row = blockIdx.x;
  const SamplingOptions options = operands.options[row];
  const Scores scores = Penalized(operands, options);
  int32_t id = BestOf(scores);
  if (id >= 0 && !options.is_greedy()) {
    const Weight weight{scores.values[id], options.temperature};
    const bool uses_top_k =
        options.top_k != 0 && options.top_k < static_cast<double>(operands.limit);
    id = !uses_top_k && options.top_p == 1
             ? DrawFromAll(scores, options, weight)
             : DrawFromTop(scores, options, uses_top_k, weight,
                           {operands.candidates + row * operands.limit,
                            operands.candidate_ids + row * operands.limit, sums});
  }
  if (threadIdx.x == 0) operands.y[row] = id;
}

void RunSample(Session& session, const SampleArgs& args) {
  const int64_t rows = args.logits.shape[0];
  const int64_t entries = rows * args.limit;
  static_assert(sizeof(float) == sizeof(int32_t));
  float* scratch = session.Scratch<float>(3 * entries);
  const Operands operands{
      .logits = MatrixOf<const float>(args.logits),
      .limit = args.limit,
      .options = args.options.As<const SamplingOptions>(),
      .seen_begin = args.seen_begin.As<const int32_t>(),
      .seen_ids = args.seen_ids.As<const int32_t>(),
      .seen_times = args.seen_times.As<const int32_t>(),
      .capacity = args.seen_ids.shape[0],
      .faults = {session.faults(), kSeen},
      .penalized = scratch,
      .candidates = scratch + entries,
      .candidate_ids = reinterpret_cast<int32_t*>(scratch + 2 * entries),
      .y = args.y.As<int32_t>(),
  };
  Launch(session, SampleKernel,
         {.blocks_x = BlockCount(rows), .threads = kSampleThreads, .shared_bytes = kDigitBytes},
         operands);
}

const Operation<SampleArgs, RunSample> operation("sample");

}  // namespace

}  // namespace kernels::cuda

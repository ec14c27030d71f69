#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/rows.h"
#include "ops/sampling/sampling.h"

// Sums are taken in the order of ids, or of likelihood, as in runtime/generation/sampler.ts: but
// for the exponential's last bit, every number is the same.
namespace kernels {

namespace {

// What one row takes while it is worked on. A thread keeps it: some megabytes that the system would
// have to clear anew for every token.
struct Scratch {
  std::vector<float> scores;
  std::vector<double> weights;
  std::vector<int32_t> ids;

  void Reserve(int64_t limit) {
    if (static_cast<int64_t>(scores.size()) >= limit) return;
    scores.resize(limit);
    weights.resize(limit);
    ids.resize(limit);
  }
};

int32_t BestOf(std::span<const float> scores) {
  int32_t best = kIdOfNothing;
  float largest = -INFINITY;
  for (size_t id = 0; id < scores.size(); ++id) {
    if (std::isnan(scores[id])) return kIdOfNaN;
    if (scores[id] > largest) {
      largest = scores[id];
      best = static_cast<int32_t>(id);
    }
  }
  return largest == INFINITY ? static_cast<int32_t>(kIdOfInfinity) : best;
}

class Row {
 public:
  Row(Scratch& scratch, int64_t limit, const SamplingOptions& options)
      : options_(options),
        scores_(scratch.scores.data(), limit),
        weights_(scratch.weights.data(), limit),
        ids_(scratch.ids.data(), limit) {}

  int32_t Choose() {
    const int32_t best = BestOf(scores_);
    if (best < 0 || options_.is_greedy()) return best;
    total_ = 0;
    for (size_t id = 0; id < scores_.size(); ++id) {
      weights_[id] = std::exp((double{scores_[id]} - scores_[best]) / options_.temperature);
      total_ += weights_[id];
    }
    return !uses_top_k() && options_.top_p == 1 ? DrawFromAll() : DrawFromTop();
  }

 private:
  bool uses_top_k() const { return options_.top_k != 0 && options_.top_k < size(); }
  double size() const { return static_cast<double>(scores_.size()); }

  // The most likely id's weight is 1, so min_p is a weight too.
  int32_t DrawFromAll() const {
    double likely = total_;
    if (options_.min_p != 0) {
      likely = 0;
      for (const double weight : weights_) likely += weight >= options_.min_p ? weight : 0;
    }
    const double target = options_.uniform * likely;
    double sum = 0;
    int32_t last = 0;
    for (size_t id = 0; id < weights_.size(); ++id) {
      if (weights_[id] < options_.min_p || weights_[id] == 0) continue;
      sum += weights_[id];
      last = static_cast<int32_t>(id);
      if (sum > target) break;
    }
    return last;  // rounding may leave the target at the very end
  }

  // Takes the most likely ids one by one, until there are enough.
  int32_t DrawFromTop() {
    int64_t size = CollectCandidates();
    const auto is_after = [&](int32_t a, int32_t b) {
      return scores_[a] < scores_[b] || (scores_[a] == scores_[b] && a > b);
    };
    // Popped ids stand behind the heap, the most likely last.
    const auto heap = ids_.begin();
    std::make_heap(heap, heap + size, is_after);
    const int64_t most =
        uses_top_k() ? static_cast<int64_t>(options_.top_k) : static_cast<int64_t>(scores_.size());
    const double enough = uses_top_k() ? INFINITY : options_.top_p * total_;
    const int64_t candidates = size;
    double mass = 0;
    while (size > 0 && candidates - size < most && (size == candidates || mass < enough)) {
      std::pop_heap(heap, heap + size, is_after);
      --size;
      mass += weights_[ids_[size]];
    }
    auto popped = ids_.subspan(size, candidates - size);
    if (uses_top_k()) TrimToMass(popped, mass);
    DropUnlikely(popped, mass);
    double sum = 0;
    for (size_t i = popped.size(); i > 1; --i) {
      sum += weights_[popped[i - 1]];
      if (sum > options_.uniform * mass) return popped[i - 1];
    }
    return popped.front();
  }

  // Every id above a weight that is lowered until the ones looked for are certain to be among them.
  int64_t CollectCandidates() {
    const double enough = options_.top_p * total_;
    for (double threshold = 0x1p-6; threshold > 0; threshold *= threshold) {
      int64_t count = 0;
      double mass = 0;
      for (size_t id = 0; id < weights_.size(); ++id) {
        if (weights_[id] < threshold) continue;
        ids_[count++] = static_cast<int32_t>(id);
        mass += weights_[id];
      }
      if (uses_top_k() ? static_cast<double>(count) >= options_.top_k : mass >= enough)
        return count;
    }
    std::iota(ids_.begin(), ids_.end(), 0);
    return static_cast<int64_t>(ids_.size());
  }

  // Top-p among the top-k.
  void TrimToMass(std::span<int32_t>& popped, double& mass) const {
    const double enough = options_.top_p * mass;
    size_t kept = 0;
    mass = 0;
    while (kept < popped.size() && (kept == 0 || mass < enough)) {
      ++kept;
      mass += weights_[popped[popped.size() - kept]];
    }
    popped = popped.last(kept);
  }

  void DropUnlikely(std::span<int32_t>& popped, double& mass) const {
    while (popped.size() > 1 && weights_[popped.front()] < options_.min_p) {
      mass -= weights_[popped.front()];
      popped = popped.subspan(1);
    }
  }

  const SamplingOptions& options_;
  std::span<const float> scores_;
  std::span<double> weights_;
  std::span<int32_t> ids_;
  double total_ = 0;
};

void RequireRanges(const SampleArgs& args) {
  const int32_t* begin = args.seen_begin.As<int32_t>();
  const int64_t capacity = args.seen_ids.shape[0];
  for (int64_t r = 0; r <= args.logits.shape[0]; ++r) {
    const int64_t lowest = r == 0 ? 0 : begin[r - 1];
    if (begin[r] >= lowest && begin[r] <= capacity) continue;
    throw Error(Code::kValue, "sample: seen_begin[" + std::to_string(r) + "] is " +
                                  std::to_string(begin[r]) + "; expected " +
                                  std::to_string(lowest) + " to " + std::to_string(capacity));
  }
}

void PenalizeSeen(const SampleArgs& args, int64_t row, const SamplingOptions& options,
                  float* scores) {
  const int32_t* begin = args.seen_begin.As<int32_t>();
  const float* logits = args.logits.Row<float>(row);
  for (int64_t i = begin[row]; i < begin[row + 1]; ++i) {
    const int32_t id = args.seen_ids.As<int32_t>()[i];
    if (id < 0 || id >= args.limit) continue;
    scores[id] = Penalize(logits[id], args.seen_times.As<int32_t>()[i], options);
  }
}

}  // namespace

void Sample(const Context& context, const SampleArgs& args) {
  RequireRanges(args);
  ForRows(context.pool, args.logits.shape[0], args.limit, [&](int64_t begin, int64_t end, int) {
    thread_local Scratch scratch;
    scratch.Reserve(args.limit);
    for (int64_t r = begin; r < end; ++r) {
      SamplingOptions options;
      std::memcpy(&options, args.options.Row<int64_t>(r), sizeof options);
      std::copy_n(args.logits.Row<float>(r), args.limit, scratch.scores.data());
      PenalizeSeen(args, r, options, scratch.scores.data());
      args.y.As<int32_t>()[r] = Row(scratch, args.limit, options).Choose();
    }
  });
}

}  // namespace kernels

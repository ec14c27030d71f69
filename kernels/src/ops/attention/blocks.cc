#include "ops/attention/blocks.h"

#include <algorithm>
#include <vector>

namespace kernels {

namespace {

// Multiply-adds below which handing work to the other threads costs more than it saves.
constexpr int64_t kSmallWork = 1 << 14;

// Queries [begin, end) of the run of rows that starts at first_row; query e of a run is row
// first_row + e / group, head e % group of the key head's group.
struct Span {
  int64_t first_row;
  int64_t begin;
  int64_t end;
};

std::vector<Span> SplitRows(const Tensor& row_sequence, int64_t group) {
  const int32_t* sequence = row_sequence.As<int32_t>();
  const int64_t rows = row_sequence.shape[0];
  std::vector<Span> spans;
  for (int64_t first = 0; first < rows;) {
    int64_t last = first;
    while (last < rows && sequence[last] == sequence[first]) ++last;
    const int64_t queries = (last - first) * group;
    for (int64_t e = 0; e < queries; e += kBlockQueries) {
      spans.push_back({first, e, std::min(queries, e + kBlockQueries)});
    }
    first = last;
  }
  return spans;
}

QueryBlock MakeBlock(const AttentionArgs& args, const Span& span, int64_t group, int64_t kv_head) {
  const int64_t dim = args.k_cache.shape[3];
  const int32_t sequence = args.row_sequence.As<int32_t>()[span.first_row];
  QueryBlock block;
  block.pages = PagesOf(args.k_cache, args.block_table, sequence);
  block.k_cache = args.k_cache.data;
  block.v_cache = args.v_cache.data;
  block.k_grids = args.k_grids.As<const CacheGrid>();
  block.v_grids = args.v_grids.As<const CacheGrid>();
  block.kv_head = kv_head;
  block.queries = static_cast<int>(span.end - span.begin);
  for (int i = 0; i < block.queries; ++i) {
    const int64_t row = span.first_row + (span.begin + i) / group;
    const int64_t head = kv_head * group + (span.begin + i) % group;
    block.q[i] = args.q.Row<float>(row) + head * dim;
    block.y[i] = args.y.Row<float>(row) + head * dim;
    block.scale[i] = args.query_scale.As<float>()[row];
    block.visible[i] = int64_t{args.positions.As<int32_t>()[row]} + 1;
  }
  return block;
}

}  // namespace

void ForQueryBlocks(const Context& context, const AttentionArgs& args,
                    void (*attend)(const QueryBlock& block)) {
  RequirePositions("attention", args.positions, args.row_sequence, args.block_table, args.k_cache,
                   true);
  const int64_t dim = args.k_cache.shape[3];
  const int64_t kv_heads = args.k_cache.shape[1];
  const int64_t group = args.q.shape[1] / (kv_heads * dim);
  const std::vector<Span> spans = SplitRows(args.row_sequence, group);
  const int64_t count = static_cast<int64_t>(spans.size());

  // The last rows of a prefill see the most: they go first, so that the threads end together.
  const auto run = [&](int64_t index, int worker) {
    const Span& span = spans[count - 1 - index % count];
    QueryBlock block = MakeBlock(args, span, group, index / count);
    const size_t floats = kBlockQueries * (kTile + dim);
    block.scratch = reinterpret_cast<float*>(context.pool.Scratch(worker, floats * sizeof(float)));
    attend(block);
  };
  int64_t visible = 0;
  for (int64_t r = 0; r < args.q.shape[0]; ++r) visible += args.positions.As<int32_t>()[r] + 1;
  if (visible * args.q.shape[1] < kSmallWork) {
    for (int64_t i = 0; i < count * kv_heads; ++i) run(i, 0);
  } else {
    context.pool.ParallelFor(count * kv_heads, run);
  }
}

}  // namespace kernels

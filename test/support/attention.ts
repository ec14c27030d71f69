// Attention problems of any shape, and what the definition says of them in double precision.
import {
  type CacheLayer,
  type CacheTensor,
  type Device,
  type F32,
  ops,
} from "../../kernels/index.ts";
import { type Implementation, numberToF16, withDevice } from "./kernels.ts";
import { normal, seeded } from "./random.ts";
import { dotTolerance, eps, expectClose, norm } from "./tolerance.ts";

type Shape = { readonly heads: number; readonly kvHeads: number; readonly dim: number };
type Row = { readonly sequence: number; readonly position: number };

/** Sequences of random keys and values, and a batch of rows that look at them. */
export type Problem = Shape & {
  readonly lengths: readonly number[];
  readonly rows: readonly Row[];
  /** per sequence, [length, kvHeads · dim] */
  readonly keys: readonly Float32Array<ArrayBuffer>[];
  readonly values: readonly Float32Array<ArrayBuffer>[];
  /** [rows, heads · dim] */
  readonly queries: Float32Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
};

export function makeProblem(
  shape: Shape,
  lengths: readonly number[],
  rows: readonly Row[],
): Problem {
  const random = seeded(shape.dim * 1000 + rows.length);
  const width = shape.kvHeads * shape.dim;
  return {
    ...shape,
    lengths,
    rows,
    keys: lengths.map((length) => normal(length * width, random, { heavy: true })),
    values: lengths.map((length) => normal(length * width, random, { heavy: true })),
    queries: normal(rows.length * shape.heads * shape.dim, random),
    scales: Float32Array.from(rows, () => (1 + random()) / Math.sqrt(shape.dim)),
  };
}

/** Rows `first` … `first + count − 1` of one sequence. */
export const span = (sequence: number, first: number, count: number): Row[] =>
  Array.from({ length: count }, (_, i) => ({ sequence, position: first + i }));

export type Layout = {
  readonly blockSize: number;
  readonly threads?: number;
  /** What the cache holds, "f32" by default; u8 with grids. */
  readonly dtype?: CacheTensor["dtype"];
};

/** A cache that nothing was stored in yet: all NaN. */
export function freshLayer(
  device: Device,
  dtype: CacheTensor["dtype"],
  extent: readonly [number, number, number, number],
): CacheLayer {
  const count = extent.reduce((product, size) => product * size);
  const halves = (shape: readonly number[], elements: number) =>
    device.from("f16", new Uint16Array(elements).fill(numberToF16(Number.NaN)), shape);
  const side = (): CacheTensor => {
    switch (dtype) {
      case "f32":
        return device.from("f32", new Float32Array(count).fill(Number.NaN), extent);
      case "f16":
        return halves(extent, count);
      case "bf16":
        return device.from("bf16", new Uint16Array(count).fill(0x7fc0), extent);
      case "u8":
        return device.from("u8", new Uint8Array(count).fill(255), extent);
    }
  };
  const grid = () => halves(extent.with(3, 2), (2 * count) / extent[3]);
  return { k: side(), v: side(), ...(dtype === "u8" ? { grids: { k: grid(), v: grid() } } : {}) };
}

/** Fills a cache of shuffled pages (the rest of it NaN) and attends with all rows, or `only` some of them. */
export async function attend(
  isa: Implementation,
  problem: Problem,
  layout: Layout,
  only?: readonly number[],
): Promise<Float32Array<ArrayBuffer>> {
  return withDevice({ isa, threads: layout.threads ?? 2 }, async (device) => {
    using y = attendOn(device, problem, layout, only).y;
    return y.read();
  });
}

/** The same on a device, not waited for. */
export function attendOn(
  device: Device,
  problem: Problem,
  layout: Layout,
  only?: readonly number[],
): { readonly cache: CacheLayer; readonly y: F32 } {
  const { blockSize, dtype = "f32" } = layout;
  const { kvHeads, dim, heads, lengths } = problem;
  const perSequence = Math.ceil(Math.max(...lengths) / blockSize);
  const blocks = perSequence * lengths.length + 1;
  const order = Array.from({ length: blocks }, (_, i) => i).reverse();
  const table = Int32Array.from(order.slice(0, perSequence * lengths.length));
  using blockTable = device.from("i32", table, [lengths.length, perSequence]);
  const cache = freshLayer(device, dtype, [blocks, kvHeads, blockSize, dim]);
  lengths.forEach((length, sequence) => {
    using positions = device.from(
      "i32",
      Int32Array.from({ length }, (_, i) => i),
    );
    using rowSequence = device.from("i32", new Int32Array(length).fill(sequence));
    const rowShape = [length, kvHeads * dim];
    using newK = device.from("f32", problem.keys[sequence]!, rowShape);
    using newV = device.from("f32", problem.values[sequence]!, rowShape);
    ops.storeCache(newK, newV, { positions, rowSequence, blockTable }, cache);
  });
  const picked = only ?? problem.rows.map((_, i) => i);
  const rows = picked.map((i) => problem.rows[i]!);
  using positions = device.from(
    "i32",
    Int32Array.from(rows, (row) => row.position),
  );
  using rowSequence = device.from(
    "i32",
    Int32Array.from(rows, (row) => row.sequence),
  );
  using scale = device.from(
    "f32",
    Float32Array.from(picked, (i) => problem.scales[i]!),
  );
  const width = heads * dim;
  const q = picked.flatMap((i) => [...problem.queries.subarray(i * width, (i + 1) * width)]);
  using queries = device.from("f32", Float32Array.from(q), [picked.length, width]);
  const y = ops.attention(queries, cache, { positions, rowSequence, blockTable }, scale);
  return { cache, y };
}

/** What a cache holds in the place of keys or values, per sequence. */
export type Cached = {
  readonly exact: Float64Array;
  /** Magnitudes that were added to get there; at least that of the value. */
  readonly parts: Float64Array;
};

export type CachedProblem = {
  readonly keys: readonly Cached[];
  readonly values: readonly Cached[];
};

function asIs({ keys, values }: Problem): CachedProblem {
  const cached = (x: Float32Array): Cached => ({
    exact: Float64Array.from(x),
    parts: Float64Array.from(x, Math.abs),
  });
  return { keys: keys.map(cached), values: values.map(cached) };
}

/** One head of one row in double precision, and the error that f32 arithmetic may make. */
function attendHead(problem: Problem, cached: CachedProblem, index: number, head: number) {
  const { dim, kvHeads, heads } = problem;
  const { sequence, position } = problem.rows[index]!;
  const keys = cached.keys[sequence]!;
  const values = cached.values[sequence]!;
  const kvHead = Math.floor(head / (heads / kvHeads));
  const q = problem.queries.subarray(
    (index * heads + head) * dim,
    (index * heads + head + 1) * dim,
  );
  const scale = problem.scales[index]!;
  const at = (p: number) => (p * kvHeads + kvHead) * dim;
  let scoreError = 0;
  const scores = Array.from({ length: position + 1 }, (_, p) => {
    const bound = dotTolerance(dim, norm(q), norm(keys.parts, at(p), dim)) * scale;
    const score = q.reduce((sum, value, d) => sum + value * keys.exact[at(p) + d]!, 0) * scale;
    scoreError = Math.max(scoreError, bound + 2 * eps * Math.abs(score));
    return score;
  });
  const largest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const total = weights.reduce((a, b) => a + b, 0);
  // A score off by e scales its weight by exp(e), as does the total; n + 4 roundings follow.
  const relative = 2 * scoreError + 4 * eps * Math.sqrt(position + 5);
  return Array.from({ length: dim }, (_, d) => {
    let sum = 0;
    let magnitude = 0;
    weights.forEach((weight, p) => {
      sum += (weight / total) * values.exact[at(p) + d]!;
      magnitude += (weight / total) * values.parts[at(p) + d]!;
    });
    return { value: sum, tolerance: relative * magnitude + 1e-37 };
  });
}

/** @param cached  what attention reads, if it is not the keys and values themselves */
export function expectAttention(
  problem: Problem,
  actual: Float32Array,
  label: string,
  cached: CachedProblem = asIs(problem),
): void {
  const want = problem.rows.flatMap((_, index) =>
    Array.from({ length: problem.heads }, (_, head) =>
      attendHead(problem, cached, index, head),
    ).flat(),
  );
  const values = want.map(({ value }) => value);
  expectClose(actual, values, (i) => want[i]!.tolerance, label);
}

import { describe, expect, test } from "vitest";
import { type Device, ops } from "../../kernels/index.ts";
import {
  attend,
  type Cached,
  type CachedProblem,
  expectAttention,
  makeProblem,
  type Problem,
  span,
} from "../support/attention.ts";
import {
  f16ToNumber,
  type Implementation,
  implementations,
  withDevice,
} from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { expectSameBits } from "../support/tolerance.ts";

type Stored = {
  /** [heads, rows, dim] */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** [heads, rows, 2], as numbers */
  readonly grids: Float64Array<ArrayBuffer>;
};

/** Stores rows [rows, heads · dim] as keys, `chunk` of them at a time, in a cache of one block. */
async function store(
  isa: Implementation,
  x: Float32Array<ArrayBuffer>,
  { heads, dim }: { readonly heads: number; readonly dim: number },
  chunk = x.length / (heads * dim),
): Promise<Stored> {
  return withDevice({ isa }, async (device) => {
    const rows = x.length / (heads * dim);
    const codes = device.zeros("u8", [1, heads, rows, dim]);
    const other = device.zeros("u8", [1, heads, rows, dim]);
    const grid = () => device.zeros("f16", [1, heads, rows, 2]);
    const grids = { k: grid(), v: grid() };
    for (let start = 0; start < rows; start += chunk) {
      const count = Math.min(chunk, rows - start);
      const part = x.slice(start * heads * dim, (start + count) * heads * dim);
      const keys = device.from("f32", part, [count, heads * dim]);
      const state = {
        positions: device.from(
          "i32",
          Int32Array.from({ length: count }, (_, i) => start + i),
        ),
        rowSequence: device.from("i32", new Int32Array(count)),
        blockTable: device.from("i32", Int32Array.of(0), [1, 1]),
      };
      ops.storeCache(keys, keys, state, { k: codes, v: other, grids });
    }
    expect(await other.read()).toEqual(await codes.read());
    return {
      codes: await codes.read(),
      grids: Float64Array.from(await grids.k.read(), f16ToNumber),
    };
  });
}

async function asCodes(
  isa: Implementation,
  x: Float32Array<ArrayBuffer>,
  shape: { readonly kvHeads: number; readonly dim: number },
): Promise<Cached> {
  const { kvHeads, dim } = shape;
  const { codes, grids } = await store(isa, x, { heads: kvHeads, dim });
  const rows = x.length / (kvHeads * dim);
  const exact = new Float64Array(x.length);
  const parts = new Float64Array(x.length);
  for (let at = 0; at < x.length; at++) {
    const [row, head, d] = [
      Math.floor(at / (kvHeads * dim)),
      Math.floor(at / dim) % kvHeads,
      at % dim,
    ];
    const from = head * rows + row;
    const [scale, offset] = [grids[2 * from]!, grids[2 * from + 1]!];
    const scaled = scale * codes[from * dim + d]!;
    exact[at] = scaled + offset;
    parts[at] = scaled + Math.abs(offset);
  }
  return { exact, parts };
}

async function cachedAs8Bit(isa: Implementation, problem: Problem): Promise<CachedProblem> {
  const all = (each: readonly Float32Array<ArrayBuffer>[]) =>
    Promise.all(each.map((x) => asCodes(isa, x, problem)));
  return { keys: await all(problem.keys), values: await all(problem.values) };
}

const dtype = "u8";

const mixed = makeProblem(
  { heads: 6, kvHeads: 2, dim: 40 },
  [150, 9, 67],
  [...span(0, 90, 60), ...span(1, 8, 1), ...span(2, 0, 67), ...span(0, 5, 1)],
);

// The dot products of codes and the sums of offsets round apart. Such errors add in quadrature, as the norms of both parts do at
// most to that of `parts`, so the tolerances are those of floats with `parts` in the place of the values.
describe.each(implementations)("attention over 8-bit codes on %s", (isa) => {
  test("matches the definition over what the codes stand for, for every head width around the vector length", async () => {
    for (const dim of [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 80, 96, 128, 129]) {
      const problem = makeProblem({ heads: 2, kvHeads: 2, dim }, [70], span(0, 60, 10));
      const actual = await attend(isa, problem, { blockSize: 16, dtype });
      expectAttention(problem, actual, `dim ${dim}`, await cachedAs8Bit(isa, problem));
    }
  });

  test("matches it for every number of rows and length around the key tile", async () => {
    for (const count of [1, 2, 3, 4, 5, 31, 33]) {
      for (const length of [33, 63, 64, 65, 128, 129]) {
        const rows = span(0, length - count, count);
        const problem = makeProblem({ heads: 1, kvHeads: 1, dim: 24 }, [length], rows);
        const actual = await attend(isa, problem, { blockSize: 7, dtype });
        const label = `${count} rows, ${length} positions`;
        expectAttention(problem, actual, label, await cachedAs8Bit(isa, problem));
      }
    }
  });

  test("a row has the same bits alone, among others, with other pages and on any number of threads", async () => {
    const all = await attend(isa, mixed, { blockSize: 16, dtype });
    expectAttention(mixed, all, "mixed", await cachedAs8Bit(isa, mixed));
    for (const blockSize of [1, 5, 64, 256]) {
      const paged = await attend(isa, mixed, { blockSize, dtype });
      expectSameBits(paged, all, `pages of ${blockSize}`);
    }
    const single = await attend(isa, mixed, { blockSize: 16, dtype, threads: 1 });
    expectSameBits(single, all, "one thread");
    const width = mixed.heads * mixed.dim;
    for (const row of [0, 1, 30, 59, 60, 61, 120, 128]) {
      const alone = await attend(isa, mixed, { blockSize: 16, dtype }, [row]);
      expectSameBits(alone, all.slice(row * width, (row + 1) * width), `row ${row}`);
    }
  });

  test.each([
    { what: "NaN", value: Number.NaN },
    { what: "infinity", value: Number.POSITIVE_INFINITY },
    { what: "minus infinity", value: Number.NEGATIVE_INFINITY },
    { what: "more than f16 holds", value: -1e5 },
    { what: "a range that f16 does not hold", value: 2e7 },
  ])(
    "a key or a value that is $what makes every row NaN that sees it, and no other",
    async ({ value }) => {
      for (const cut of [67, 70]) {
        for (const side of ["keys", "values"] as const) {
          const problem = makeProblem({ heads: 1, kvHeads: 1, dim: 20 }, [80], span(0, 66, 8));
          const before = await attend(isa, problem, { blockSize: 16, dtype });
          problem[side][0]![cut * 20 + 3] = value;
          const after = await attend(isa, problem, { blockSize: 16, dtype });
          const unaware = (cut - 66) * 20;
          expectSameBits(
            after.slice(0, unaware),
            before.slice(0, unaware),
            `${side} from ${cut} on`,
          );
          expect(after.subarray(unaware).every(Number.isNaN)).toBe(true);
        }
      }
    },
  );

  test("a value with a weight of nearly all comes out as it is stored", async () => {
    const problem = makeProblem({ heads: 1, kvHeads: 1, dim: 16 }, [130], span(0, 126, 4));
    problem.scales.fill(1000);
    const actual = await attend(isa, problem, { blockSize: 16, dtype });
    expectAttention(problem, actual, "scale 1000", await cachedAs8Bit(isa, problem));
  });
});

/** What is stored and what it stands for, row by row. */
function valuesOf({ codes, grids }: Stored, dim: number) {
  return Array.from({ length: grids.length / 2 }, (_, row) => {
    const [scale, offset] = [grids[2 * row]!, grids[2 * row + 1]!];
    const own = codes.subarray(row * dim, (row + 1) * dim);
    return { scale, offset, codes: own, values: Array.from(own, (code) => scale * code + offset) };
  });
}

describe.each(["scalar", "cuda"] as const)("storing 8-bit codes on %s", (isa) => {
  const heads = 3;

  test("rounds each value to the nearest code of its own row and head", async () => {
    for (const dim of [1, 5, 16, 64, 100]) {
      for (const scale of [1e-6, 1e-3, 1, 500]) {
        const random = seeded(dim);
        const x = normal(40 * heads * dim, random, { scale, heavy: true });
        const stored = valuesOf(await store(isa, x, { heads, dim }), dim);
        stored.forEach((row, i) => {
          const start = ((i % 40) * heads + Math.floor(i / 40)) * dim;
          const own = x.subarray(start, start + dim);
          const [least, largest] = [Math.min(...own), Math.max(...own)];
          // A step of f16 at the least value, downwards.
          const step = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(least)))) - 10);
          expect(row.offset).toBeLessThanOrEqual(least);
          expect(row.offset).toBeGreaterThan(least - 2 * step);
          const finest = (largest - row.offset) / 255;
          expect(row.scale).toBeGreaterThanOrEqual(finest * (1 - 2 ** -22));
          expect(row.scale).toBeLessThanOrEqual(finest * (1 + 2 ** -10) + 2 ** -24);
          own.forEach((value, d) => {
            const error = Math.abs(row.values[d]! - value);
            expect(error).toBeLessThanOrEqual(row.scale * (0.5 + 2 ** -14));
          });
        });
      }
    }
  });

  test("stores a row the same way whatever rows come with it", async () => {
    const x = normal(17 * heads * 24, seeded(3), { heavy: true });
    const whole = await store(isa, x, { heads, dim: 24 });
    for (const chunk of [1, 4]) {
      expect(await store(isa, x, { heads, dim: 24 }, chunk)).toEqual(whole);
    }
  });

  test.each([0, 1, -2.5, 65504, -65504, 2 ** -24])(
    "a row of %d alone comes back exactly",
    async (value) => {
      const [row] = valuesOf(
        await store(isa, new Float32Array(20).fill(value), { heads: 1, dim: 20 }),
        20,
      );
      expect(row).toMatchObject({ scale: 0, offset: value, values: Array(20).fill(value) });
    },
  );

  test("rows of one value and of next to no range come back within a step of the smallest f16", async () => {
    for (const value of [0.1, -1 / 3, 1000.4, 1e-9, -1e-9, -3e-6]) {
      for (const spread of [0, 1e-7, 1e-4]) {
        const x = Float32Array.from({ length: 20 }, (_, d) => value * (1 + spread * d));
        const [row] = valuesOf(await store(isa, x, { heads: 1, dim: 20 }), 20);
        const error = Math.max(...x.map((each, d) => Math.abs(each - row!.values[d]!)));
        expect(error).toBeLessThanOrEqual(row!.scale * (0.5 + 2 ** -14));
        const step = Math.abs(value) * 2 ** -9;
        expect(row!.scale).toBeLessThanOrEqual(
          ((step + 19 * spread * Math.abs(value)) / 255) * 1.01 + 2 ** -24,
        );
      }
    }
  });

  test("large values are kept whole as long as their grid is", async () => {
    const x = Float32Array.of(-60000, 0, 1e5, 1.5e7);
    const [row] = valuesOf(await store(isa, x, { heads: 1, dim: 4 }), 4);
    x.forEach((value, d) => {
      expect(Math.abs(row!.values[d]! - value)).toBeLessThanOrEqual(row!.scale * (0.5 + 2 ** -14));
    });
  });

  test.each([
    { x: [1, Number.NaN, 2], what: "NaN" },
    { x: [1, 2, Number.POSITIVE_INFINITY], what: "infinity" },
    { x: [Number.NEGATIVE_INFINITY, 2, 3], what: "minus infinity" },
    { x: [-65505, 2, 3], what: "less than f16 holds" },
    { x: [0, 2, 1.671e7], what: "a range beyond f16" },
    { x: [-3e38, 2, 3e38], what: "a range beyond f32" },
  ])("makes a grid of NaN for $what", async ({ x }) => {
    const stored = await store(isa, Float32Array.from(x), { heads: 1, dim: 3 });
    expect(stored.grids).toEqual(Float64Array.of(Number.NaN, Number.NaN));
    expect(stored.codes).toEqual(new Uint8Array(3));
  });
});

describe.each(["scalar", "cuda"] as const)("a cache of 8-bit codes on %s", (isa) => {
  const operations = (device: Device) => {
    const one = device.from("i32", new Int32Array(1));
    const rows = { positions: one, rowSequence: one, blockTable: one.reshape([1, 1]) };
    const x = device.zeros("f32", [1, 8]);
    const attention = (cache: ops.CacheLayer) =>
      ops.attention(x, cache, rows, device.zeros("f32", [1]));
    const storeCache = (cache: ops.CacheLayer) => ops.storeCache(x, x, rows, cache);
    return { attention, storeCache };
  };

  test("needs grids of its shape, which floats must not have", async () => {
    await withDevice({ isa }, async (device) => {
      const side = (dtype: "u8" | "f32" | "f16") => device.zeros(dtype, [1, 1, 4, 8]);
      const grid = (width: number) => device.zeros("f16", [1, 1, 4, width]);
      const grids = { k: grid(2), v: grid(2) };
      for (const operation of Object.values(operations(device))) {
        operation({ k: side("u8"), v: side("u8"), grids });
        expect(() => operation({ k: side("u8"), v: side("u8") })).toThrow(/grids/);
        const narrow = { k: grid(2), v: grid(1) };
        expect(() => operation({ k: side("u8"), v: side("u8"), grids: narrow })).toThrow(
          expect.objectContaining({ code: "KERNEL_SHAPE" }),
        );
        expect(() => operation({ k: side("f32"), v: side("f32"), grids })).toThrow(/grids/);
        expect(() => operation({ k: side("u8"), v: side("f16"), grids })).toThrow(
          expect.objectContaining({ code: "KERNEL_DTYPE" }),
        );
      }
    });
  });
});

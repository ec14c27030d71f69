import { describe, expect, test } from "vitest";
import { type Device, ops } from "../../kernels/index.ts";
import { attend, expectAttention, makeProblem, span } from "../support/attention.ts";
import {
  f16ToNumber,
  fromBf16,
  implementations,
  numberToF16,
  toBf16,
  withDevice,
} from "../support/kernels.ts";
import { integers, seeded } from "../support/random.ts";
import { eps, expectClose, expectSameBits } from "../support/tolerance.ts";

const mixed = makeProblem(
  { heads: 6, kvHeads: 2, dim: 40 },
  [150, 9, 67],
  [...span(0, 90, 60), ...span(1, 8, 1), ...span(2, 0, 67), ...span(0, 5, 1)],
);

describe.each(implementations)("attention on %s", (isa) => {
  test("matches the double-precision definition for every head width around the vector length", async () => {
    for (const dim of [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 80, 96, 128, 129]) {
      const problem = makeProblem({ heads: 2, kvHeads: 2, dim }, [70], [...span(0, 60, 10)]);
      expectAttention(problem, await attend(isa, problem, { blockSize: 16 }), `dim ${dim}`);
    }
  });

  test("matches it for every number of rows and length around the key tile", async () => {
    for (const count of [1, 2, 3, 4, 5, 7, 31, 32, 33]) {
      for (const length of [33, 63, 64, 65, 128, 129]) {
        const rows = span(0, length - count, count);
        const problem = makeProblem({ heads: 1, kvHeads: 1, dim: 24 }, [length], rows);
        const label = `${count} rows, ${length} positions`;
        expectAttention(problem, await attend(isa, problem, { blockSize: 7 }), label);
      }
    }
  });

  test("shares key heads among query heads, prefill and decode rows of several sequences mixed", async () => {
    expectAttention(mixed, await attend(isa, mixed, { blockSize: 32 }), "mixed");
  });

  test.each([
    { dtype: "f16", round: (x) => x.map((value) => f16ToNumber(numberToF16(value))) },
    { dtype: "bf16", round: (x) => fromBf16(toBf16(x)) },
  ] satisfies {
    dtype: "f16" | "bf16";
    round(x: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer>;
  }[])(
    "reads keys and values of $dtype, rounded when they were stored",
    async ({ dtype, round }) => {
      for (const [dim, threads] of [
        [40, 1],
        [128, 2],
        [19, 2],
      ] as const) {
        const rows = [...span(0, 90, 60), ...span(1, 8, 1), ...span(2, 0, 67), ...span(0, 5, 1)];
        const problem = makeProblem({ heads: 6, kvHeads: 2, dim }, [150, 9, 67], rows);
        const layout = { blockSize: 32, threads, dtype };
        const actual = await attend(isa, problem, layout);
        const rounded = {
          ...problem,
          ...{ keys: problem.keys.map(round), values: problem.values.map(round) },
        };
        expectAttention(rounded, actual, `dim ${dim}`);
        // The same arithmetic from there on.
        expectSameBits(actual, await attend(isa, rounded, { blockSize: 32 }), `dim ${dim}`);
        const width = 6 * dim;
        const alone = await attend(isa, problem, layout, [61]);
        expectSameBits(alone, actual.slice(61 * width, 62 * width), "alone");
      }
    },
  );

  test("splits more query heads per key head than a block holds", async () => {
    const problem = makeProblem({ heads: 70, kvHeads: 1, dim: 8 }, [20], span(0, 17, 3));
    expectAttention(problem, await attend(isa, problem, { blockSize: 4 }), "70 heads");
  });

  test("a row has the same bits alone, among others, with other pages and on any number of threads", async () => {
    const all = await attend(isa, mixed, { blockSize: 16 });
    for (const blockSize of [1, 5, 64, 256]) {
      expectSameBits(await attend(isa, mixed, { blockSize }), all, `pages of ${blockSize}`);
    }
    expectSameBits(await attend(isa, mixed, { blockSize: 16, threads: 1 }), all, "one thread");
    const width = mixed.heads * mixed.dim;
    for (const row of [0, 1, 30, 59, 60, 61, 120, 128]) {
      const alone = await attend(isa, mixed, { blockSize: 16 }, [row]);
      expectSameBits(alone, all.slice(row * width, (row + 1) * width), `row ${row}`);
    }
  });

  test("never reads a value that a row may not see, wherever the rows are cut into blocks", async () => {
    for (const heads of [1, 4]) {
      for (const cut of [67, 68, 69, 70, 71]) {
        const problem = makeProblem({ heads, kvHeads: 1, dim: 20 }, [80], span(0, 66, 8));
        const before = await attend(isa, problem, { blockSize: 16 });
        problem.values[0]?.fill(Number.NaN, cut * 20);
        problem.keys[0]?.fill(Number.NaN, cut * 20);
        const after = await attend(isa, problem, { blockSize: 16 });
        const unaware = (cut - 66) * heads * 20;
        expectSameBits(after.slice(0, unaware), before.slice(0, unaware), `NaN from ${cut} on`);
        expect(after.subarray(unaware).every(Number.isNaN)).toBe(true);
      }
    }
  });

  test("scores far apart neither overflow nor lose the largest", async () => {
    const problem = makeProblem({ heads: 1, kvHeads: 1, dim: 16 }, [130], span(0, 126, 4));
    problem.scales.fill(1000);
    const result = await attend(isa, problem, { blockSize: 16 });
    expect(result.every(Number.isFinite)).toBe(true);
    expectAttention(problem, result, "scale 1000");
  });

  test("scores of minus infinity weigh nothing, even when a whole tile has them", async () => {
    const problem = makeProblem({ heads: 1, kvHeads: 1, dim: 4 }, [70], span(0, 66, 4));
    problem.queries.fill(1);
    problem.keys[0]?.fill(Number.NEGATIVE_INFINITY, 0, 64 * 4);
    problem.keys[0]?.fill(1, 64 * 4);
    const result = await attend(isa, problem, { blockSize: 16 });
    const want = [3, 4, 5, 6].flatMap((count) =>
      Array.from({ length: 4 }, (_, d) => {
        const seen = Array.from({ length: count }, (_, i) => problem.values[0]![(64 + i) * 4 + d]!);
        return seen.reduce((a, b) => a + b, 0) / count;
      }),
    );
    const largest = Math.max(...problem.values[0]!.map(Math.abs));
    expectClose(result, want, 8 * eps * largest, "after a hidden tile");
  });
});

describe.each(implementations)("what attention refuses on %s", (isa) => {
  const run = (device: Device, state: { position?: number; sequence?: number; block?: number }) => {
    const k = device.zeros("f32", [3, 1, 4, 8]);
    const rows = {
      positions: device.from("i32", Int32Array.of(state.position ?? 5)),
      rowSequence: device.from("i32", Int32Array.of(state.sequence ?? 0)),
      blockTable: device.from("i32", Int32Array.of(0, state.block ?? 2), [1, 2]),
    };
    const x = device.zeros("f32", [1, 8]);
    return {
      attend: () => ops.attention(x, { k, v: k }, rows, device.zeros("f32", [1])),
      store: () => ops.storeCache(x, x, rows, { k, v: k }),
    };
  };

  test.each([
    { position: -1 },
    { position: 8 },
    { sequence: -1 },
    { sequence: 1 },
    { block: -1 },
    { block: 3 },
  ])("faults the device instead of leaving the cache for %j", async (state) => {
    for (const operation of ["attend", "store"] as const) {
      await withDevice({ isa }, async (device) => {
        run(device, state)[operation]();
        await expect(device.sync()).rejects.toMatchObject({ code: "KERNEL_VALUE" });
      }).catch((error: unknown) => expect(error).toMatchObject({ code: "KERNEL_VALUE" }));
    }
  });

  test("a block beyond a row's position may be anything", async () => {
    await withDevice({ isa }, async (device) => {
      const y = run(device, { position: 3, block: -1 }).attend();
      expect(await y.read()).toEqual(new Float32Array(8));
    });
  });

  test("refuses query heads that are no multiple of the key heads and caches that differ", async () => {
    await withDevice({ isa }, async (device) => {
      const shaped = (...shape: number[]) => device.zeros("f32", shape);
      const rows = {
        positions: device.from("i32", integers(1, 1, seeded(1))),
        rowSequence: device.from("i32", integers(1, 1, seeded(1))),
        blockTable: device.from("i32", Int32Array.of(0), [1, 1]),
      };
      const k = shaped(1, 2, 4, 8);
      const shapeError = expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" });
      expect(() => ops.attention(shaped(1, 24), { k, v: k }, rows, shaped(1))).toThrow(shapeError);
      const v = shaped(1, 2, 4, 7);
      expect(() => ops.attention(shaped(1, 16), { k, v }, rows, shaped(1))).toThrow(shapeError);
      const half = device.zeros("f16", [1, 2, 4, 8]);
      expect(() => ops.attention(shaped(1, 16), { k, v: half }, rows, shaped(1))).toThrow(
        expect.objectContaining({ code: "KERNEL_DTYPE" }),
      );
      expect(() =>
        ops.storeCache(shaped(1, 15), shaped(1, 15), rows, { k, v: shaped(1, 2, 4, 8) }),
      ).toThrow(shapeError);
    });
  });
});

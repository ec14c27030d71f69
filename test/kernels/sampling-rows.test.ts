// How rows are given to ops.sample; what is drawn from each is sampling.test.ts's.
import { describe, expect, test } from "vitest";
import { type DrawRow, DrawRows, ops } from "../../kernels/index.ts";
import { defaultSampling } from "../../runtime/generation/sampler.ts";
import { openImplementation, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { drawn, drawRows, everyVariant, logitsOf, rowOf, stacked } from "../support/sampling.ts";

describe.each(["scalar", "cuda"] as const)("sample on %s", (isa) => {
  test("a row gets the same id alone", async () => {
    const logits = (random: () => number) => normal(2000, random, { scale: 2 });
    const draws = everyVariant(logits, { seed: 6 });
    const together = await drawn(isa, draws);
    for (const [row, draw] of draws.entries()) {
      expect(await drawn(isa, [draw])).toEqual(together.slice(row, row + 1));
    }
  });

  test("accepts no rows, and rows that have a stride", async () => {
    const random = seeded(7);
    const draws = everyVariant(() => normal(100, random), { seed: 7 });
    await withDevice({ isa }, async (device) => {
      using none = device.empty("f32", [0, 8]);
      using noRows = drawRows(device, []);
      expect(await ops.sample(none, 8, noRows).read()).toHaveLength(0);
      const values = draws.flatMap(({ logits }) => [9, 9, 9, ...logits, Number.NaN, 9]);
      using wide = device.from("f32", Float32Array.from(values), [draws.length, 105]);
      using view = wide.narrow(1, 3, 100);
      using rows = drawRows(device, draws);
      const ids = Array.from(await ops.sample(view, 100, rows).read());
      expect(ids).toEqual(await drawn(isa, draws));
    });
  });

  test("captured, draws for the rows that are there when it is replayed", async () => {
    using device = openImplementation(isa);
    const of = (seed: number) =>
      everyVariant((random) => normal(500, random, { scale: 2 }), {
        ...{ seed, history: [1, 2, 3, 2, 499 - seed], given: 2 },
        options: { ...defaultSampling, presencePenalty: 0.5, topP: 0.9 + seed / 100 },
      });
    using rows = drawRows(device, of(1), 1000);
    using logits = logitsOf(device, of(1), 500);
    const { graph, result } = device.capture(() => ops.sample(logits, 480, rows));
    for (const seed of [2, 3]) {
      const draws = of(seed).map((draw) => ({ ...draw, limit: 480 }));
      rows.write(draws.map(rowOf));
      logits.write(stacked(draws, 500));
      graph.replay();
      expect(Array.from(await result.read())).toEqual(await drawn(isa, draws));
    }
    graph[Symbol.dispose]();
  });

  test.each([[[0, 4]], [[-1, 2]], [[2, 1]]])(
    "ids seen from %j of 3 fault the device",
    async (begin) => {
      const outcome = withDevice({ isa }, async (device) => {
        const rows = drawRows(device, [], 3);
        const wrong = Object.assign(Object.create(rows) as DrawRows, {
          options: device.zeros("i64", [1, 8]),
          seenBegin: device.from("i32", Int32Array.from(begin)),
        });
        ops.sample(device.zeros("f32", [1, 3]), 3, wrong);
      });
      await expect(outcome).rejects.toMatchObject({
        code: "KERNEL_VALUE",
        message: expect.stringContaining("seen_begin"),
      });
    },
  );
});

describe("sample", () => {
  test.each([0, 5])("refuses the limit %i of a row of 4", async (limit) => {
    await withDevice({ isa: "scalar" }, async (device) => {
      using rows = drawRows(device, []);
      expect(() => ops.sample(device.zeros("f32", [0, 4]), limit, rows)).toThrow(
        expect.objectContaining({ name: "KernelError", code: "KERNEL_VALUE" }),
      );
    });
  });

  test("refuses more ids seen than there is room for, and rows of another number", async () => {
    await withDevice({ isa: "scalar" }, async (device) => {
      const error = (code: string) => expect.objectContaining({ name: "KernelError", code });
      using rows = new DrawRows(device, 1, 2);
      const seen = { ids: new Int32Array(3), times: new Int32Array(3) };
      const row: DrawRow = { options: defaultSampling, uniform: 0, seen };
      expect(() => rows.write([row])).toThrow(error("KERNEL_SHAPE"));
      expect(() => ops.sample(device.zeros("f32", [2, 4]), 4, rows)).toThrow(error("KERNEL_SHAPE"));
    });
  });
});

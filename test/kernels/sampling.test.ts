import { describe, expect, test } from "vitest";
import { type Device, type DrawRow, DrawRows, noId, ops } from "../../kernels/index.ts";
import {
  createSampler,
  defaultSampling,
  parseSamplingOptions,
  type SamplingOptions,
} from "../../runtime/generation/sampler.ts";
import { type Implementation, openImplementation, withDevice } from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";

/** One row and how it is drawn from. */
type Draw = {
  readonly logits: Float32Array<ArrayBuffer>;
  readonly options: SamplingOptions;
  readonly uniform: number;
  readonly limit: number;
  /** Of which the first `given` were not generated. */
  readonly history: readonly number[];
  readonly given: number;
};

function seenIn(history: readonly number[], given: number) {
  const times = new Map<number, number>();
  for (const [i, id] of history.entries())
    times.set(id, (times.get(id) ?? 0) + (i < given ? 0 : 1));
  return { ids: Int32Array.from(times.keys()), times: Int32Array.from(times.values()) };
}

const rowOf = ({ options, uniform, history, given }: Draw): DrawRow => ({
  ...{ options, uniform },
  seen: history.length === 0 ? undefined : seenIn(history, given),
});

function drawRows(device: Device, draws: readonly Draw[], capacity?: number): DrawRows {
  const needed = draws.reduce((sum, { history }) => sum + new Set(history).size, 0);
  const rows = new DrawRows(device, draws.length, capacity ?? needed);
  rows.write(draws.map(rowOf));
  return rows;
}

/** The rows of draws of one width and limit, one under another. */
function stacked(draws: readonly Draw[], width: number) {
  const all = new Float32Array(draws.length * width);
  for (const [row, { logits }] of draws.entries()) all.set(logits, row * width);
  return all;
}

function logitsOf(device: Device, draws: readonly Draw[], width: number) {
  return device.from("f32", stacked(draws, width), [draws.length, width]);
}

async function drawn(isa: Implementation, draws: readonly Draw[]): Promise<number[]> {
  const [width, limit] = [draws[0]?.logits.length ?? 1, draws[0]?.limit ?? 1];
  return withDevice({ isa }, async (device) => {
    using logits = logitsOf(device, draws, width);
    using rows = drawRows(device, draws);
    using ids = ops.sample(logits, limit, rows);
    return Array.from(await ids.read());
  });
}

function reference({ logits, options, uniform, limit, history, given }: Draw): number {
  return createSampler(options, given, () => uniform).sample(logits, history, limit);
}

/**
 * Weights differ in two units in the last place of an exponential, sums of n of them in n · 2⁻⁵³ of the sum; mass that was reached
 * is one such sum beside another. Whoever draws so near a border may draw what is beyond it.
 */
function expectDrawn(id: number | undefined, draw: Draw, label: string): void {
  const { options, uniform, limit } = draw;
  const want = reference(draw);
  if (id === want) return;
  const tolerance = 4 * (limit + 4) * 2 ** -53;
  const near = [-tolerance, 0, tolerance].flatMap((byMass) =>
    [-tolerance, 0, tolerance].map((byCut) =>
      reference({
        ...draw,
        uniform: Math.min(Math.max(uniform + byMass, 0), 1 - 2 ** -53),
        options: { ...options, topP: options.topP === 1 ? 1 : options.topP * (1 + byCut) },
      }),
    ),
  );
  expect(near, `${label}: ${JSON.stringify({ ...options, uniform })}`).toContain(id);
}

const variants: readonly Partial<SamplingOptions>[] = [
  {},
  { temperature: 0 },
  { temperature: 0.01 },
  { temperature: 1e-300 },
  { temperature: 50 },
  { topK: 1 },
  { topK: 2 },
  { topK: 20 },
  { topK: 16, temperature: 3 },
  { topK: 100_000, topP: 0.9 },
  { topK: 100_000 },
  { topK: 40, topP: 0.5, temperature: 0.7 },
  { topK: 7, topP: 0 },
  { topP: 0 },
  { topP: 1e-12 },
  { topP: 0.3 },
  { topP: 0.8 },
  { topP: 0.999, temperature: 3 },
  { topP: 1 - 2 ** -53 },
  { minP: 0.1 },
  { minP: 1 },
  { minP: 0.05, topK: 20, topP: 0.95 },
  { minP: 0.3, topP: 0.9, temperature: 2 },
  { minP: 1, topP: 0.9 },
];

function everyVariant(
  logits: (random: () => number) => Float32Array<ArrayBuffer>,
  options: Partial<Draw> & { readonly seed: number },
): Draw[] {
  const { seed, ...rest } = options;
  const random = seeded(seed);
  return variants.map((variant) => {
    const values = logits(random);
    return {
      ...{ logits: values, limit: values.length, history: [], given: 0, uniform: random() },
      ...rest,
      options: parseSamplingOptions({ ...variant, ...rest.options }),
    };
  });
}

async function expectAllDrawn(isa: Implementation, draws: readonly Draw[], label: string) {
  const ids = await drawn(isa, draws);
  for (const [row, draw] of draws.entries()) expectDrawn(ids[row], draw, `${label}, row ${row}`);
}

const widths = [1, 2, 3, 15, 16, 17, 31, 33, 300, 511, 513, 5003];

describe.each(["scalar", "cuda"] as const)("sample on %s", (isa) => {
  test.each(widths)("draws what the sampler draws of %i logits", async (width) => {
    for (const [i, scale] of [4, 0.2, 30].entries()) {
      const logits = (random: () => number) => normal(width, random, { scale });
      await expectAllDrawn(isa, everyVariant(logits, { seed: 10 * width + i }), `scale ${scale}`);
    }
  });

  test.each([0, 1 - 2 ** -53])("draws at the border %d of the random numbers", async (uniform) => {
    const logits = (random: () => number) => normal(1000, random, { scale: 2 });
    await expectAllDrawn(isa, everyVariant(logits, { seed: 1, uniform }), "border");
  });

  test("orders equal logits by id, and 0 as -0", async () => {
    for (const values of [[1], [0, -0], [2, 0.5, -0, 0, -3]]) {
      const logits = (random: () => number) =>
        Float32Array.from(
          { length: 700 },
          () => values[Math.floor(random() * values.length)] ?? Number.NaN,
        );
      await expectAllDrawn(isa, everyVariant(logits, { seed: 2 }), `values ${values}`);
    }
  });

  test("leaves out what is -Infinity", async () => {
    const none = Number.NEGATIVE_INFINITY;
    const few = (random: () => number) => {
      const logits = new Float32Array(400).fill(none);
      for (let i = 0; i < 3; i++) logits[Math.floor(random() * 400)] = 3 * random();
      return logits;
    };
    const draws = everyVariant(few, { seed: 3 });
    await expectAllDrawn(isa, draws, "few");
    const ids = await drawn(isa, draws);
    for (const [row, { logits }] of draws.entries()) expect(logits[ids[row] ?? -1]).not.toBe(none);
  });

  test("does not look at logits from the limit on", async () => {
    const logits = (random: () => number) => {
      const values = normal(600, random, { scale: 3 });
      return values.fill(Number.NaN, 530).fill(1e9, 580);
    };
    await expectAllDrawn(isa, everyVariant(logits, { seed: 4, limit: 530 }), "limit");
  });

  test.each<Partial<SamplingOptions>>([
    { repetitionPenalty: 1.1 },
    { repetitionPenalty: 0.5 },
    { presencePenalty: 1.5 },
    { presencePenalty: -2, frequencyPenalty: 0.1 },
    { frequencyPenalty: 0.7, repetitionPenalty: 1.3 },
  ])("penalizes what was seen: %o", async (penalties) => {
    const random = seeded(5);
    const draws = variants.flatMap((variant, i): Draw[] => {
      // Ids outside the limit have no logit; a row without a history stands beside the others.
      const length = i % 4 === 0 ? 0 : 60 * i;
      const history = Array.from(integers(length, 450, random), (id) => (id === 7 ? -1 : id));
      return [
        {
          logits: normal(420, random, { scale: 3 }),
          options: parseSamplingOptions({ ...variant, ...penalties }),
          ...{ uniform: random(), limit: 401, history, given: length / 3 },
        },
      ];
    });
    await expectAllDrawn(isa, draws, "seen");
  });

  test("tells for each row why it has no id", async () => {
    const [nan, none, infinity] = [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    const rows: readonly [readonly number[], number][] = [
      [[1, 2, nan], noId.nan],
      [[nan, infinity, 1], noId.nan],
      [[none, none, none], noId.allMinusInfinity],
      [[1, infinity, 2], noId.infinity],
      [[0, none, none], 0],
      [[3e38, 1, 2], noId.infinity],
      [[none, 5, none], 1],
    ];
    for (const variant of [{ temperature: 0 }, {}, { topP: 0.5 }, { topK: 2 }]) {
      const options = parseSamplingOptions({ ...variant, repetitionPenalty: 0.5 });
      const draws = rows.map(([values]): Draw => {
        const logits = Float32Array.from(values);
        return { logits, options, uniform: 0.4, limit: 3, history: [0], given: 1 };
      });
      expect(await drawn(isa, draws)).toEqual(rows.map(([, id]) => id));
    }
  });

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

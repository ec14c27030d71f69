import { describe, expect, test } from "vitest";
import { noId } from "../../kernels/index.ts";
import { parseSamplingOptions, type SamplingOptions } from "../../runtime/generation/sampler.ts";
import { integers, normal, seeded } from "../support/random.ts";
import { type Draw, drawn, everyVariant, expectAllDrawn, variants } from "../support/sampling.ts";

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
});

// The quantizer with CUDA's kernels beside the same on the processor.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Device } from "../../kernels/index.ts";
import { parseRecipe, type QuantizationReport, quantizeModel } from "../../quantizer/index.ts";
import { openModel } from "../../runtime/index.ts";
import { type Implementation, openImplementation } from "../support/kernels.ts";
import { sequenceLogits } from "../support/logits.ts";
import { integers, seeded } from "../support/random.ts";
import { temporaryDirectory, tinyQwenTensors, writeTinyQwen } from "../support/tiny-checkpoint.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const source = join(work.path, "source");
beforeAll(() => writeTinyQwen(source));
const segments = [40, 33].map((length, i) => integers(length, 128, seeded(i)));
const prompt = integers(30, 128, seeded(9));
const implementations = ["scalar", "cuda"] as const satisfies readonly Implementation[];

async function quantize(device: Device, preset: "best" | "fast" | "compat", bits: 4 | 8) {
  const output = join(work.path, `${preset}-${bits}-${device.kind}`);
  const recipe = parseRecipe(
    { bits, groupSize: 32, ...(preset === "compat" && ({ compat: "autogptq" } as const)) },
    preset === "compat" ? "best" : preset,
  );
  const report = await quantizeModel({ source, output, version: "test", segments, recipe, device });
  return { output, report };
}

const lossesOf = ({ linears }: QuantizationReport) => linears.map(({ loss }) => loss ?? Number.NaN);

describe("the quantizer on cuda", () => {
  test.each([
    { preset: "compat", bits: 4, bound: 0.02 },
    { preset: "fast", bits: 8, bound: 0.02 },
    // Refinement goes another way after a code that was rounded otherwise: 0.03 between scalar and avx512.
    { preset: "best", bits: 4, bound: 0.1 },
  ] as const)(
    "$preset, $bits bits: as good as on the processor",
    async ({ preset, bits, bound }) => {
      const results = [];
      for (const implementation of implementations) {
        using device = openImplementation(implementation);
        const { output, report } = await quantize(device, preset, bits);
        // Read by the processor, so that only the files differ.
        using reader = openImplementation("scalar");
        using model = openModel(output, reader);
        results.push({ losses: lossesOf(report), logits: await sequenceLogits(model, prompt) });
      }
      const [expected, actual] = results;
      // Sums in another order round a few codes the other way; the losses say that they are as good.
      for (const [i, loss] of expected?.losses.entries() ?? []) {
        expect(Math.abs((actual?.losses[i] ?? Number.NaN) / loss - 1), `linear ${i}`).toBeLessThan(
          bound,
        );
      }
      expect(actual?.logits.every(Number.isFinite)).toBe(true);
    },
  );

  test("takes no more of the GPU's memory for more blocks", async () => {
    const peaks: number[] = [];
    for (const layers of [2, 4]) {
      const deep = join(work.path, `deep-${layers}`);
      writeTinyQwen(deep, { num_hidden_layers: layers }, tinyQwenTensors(1, layers));
      using device = openImplementation("cuda");
      await quantizeModel({
        ...{ source: deep, output: `${deep}-result`, version: "test", segments, device },
        recipe: parseRecipe({ bits: 4, groupSize: 32 }, "best"),
      });
      peaks.push(device.memory().peak);
    }
    const [few = 0, many = 0] = peaks;
    // A block is 70 kB; what is kept for reuse may be a little larger than what asks for it.
    expect(many - few).toBeLessThan(16_000);
  });
});

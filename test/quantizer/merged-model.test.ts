// A model with its LoRA adapter merged, as a checkpoint of its own: the same as merging at once.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice, ops } from "../../kernels/index.ts";
import { mergeModel, openAdapter } from "../../quantizer/index.ts";
import { openCheckpoint, openModel } from "../../runtime/index.ts";
import { fromBf16 } from "../support/kernels.ts";
import { sequenceLogits } from "../support/logits.ts";
import { integers, normal, seeded } from "../support/random.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { dotTolerance, expectClose, expectSameBits, norm } from "../support/tolerance.ts";
import { type AdapterTensors, pair, writeAdapter } from "./adapters.ts";
import { bundledSegments, quantize, writeTwoBlocks } from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);

const h0 = "transformer.h.0";
const h1 = "transformer.h.1";

describe("a merged model", () => {
  const source = at("source");
  const shapes = {
    "attn.c_attn": [768, 256],
    "attn.c_proj": [256, 256],
    "mlp.w1": [768, 256],
    "mlp.w2": [768, 256],
    "mlp.c_proj": [256, 768],
  } as const;
  const tensors = Object.assign(
    {},
    ...[h0, h1].flatMap((block) =>
      Object.entries(shapes).map(([name, shape]) => pair(`${block}.${name}`, shape, 16)),
    ),
  ) as AdapterTensors;
  // As Qwen's finetune.py asks for it.
  const config = { r: 16, lora_alpha: 4, target_modules: ["c_attn", "c_proj", "w1", "w2"] };
  const prompt = integers(40, 4096, seeded(6));
  const files = (dir: string) => readdirSync(dir).filter((file) => !file.startsWith("report."));

  beforeAll(async () => {
    writeTwoBlocks(source);
    writeAdapter(at("lora"), tensors, config);
    using device = openDevice({ threads: 2 });
    await mergeModel({
      ...{ source, adapter: at("lora"), output: at("merged"), device },
      maxShardBytes: 2_000_000,
    });
  });

  test("computes what the same model with the adapter merged as it is read computes", async () => {
    using device = openDevice({ threads: 2 });
    using overlay = await openAdapter(at("lora"), source, device);
    using onTheFly = openModel(source, device, { overlay });
    using first = openModel(at("merged"), device);
    using base = openModel(source, device);
    const logits = await sequenceLogits(onTheFly, prompt);
    expectSameBits(await sequenceLogits(first, prompt), logits);
    const before = await sequenceLogits(base, prompt);
    expect(logits.some((value, i) => Math.abs(value - before[i]!) > 1)).toBe(true);
  });

  test("computes W·x + s·B·(A·x) in its linears, as PEFT does beside a model", async () => {
    using device = openDevice({ threads: 2 });
    using base = openModel(source, device);
    using first = openModel(at("merged"), device);
    using plain = base.loadBlock(1);
    using changed = first.loadBlock(1);
    for (const [name, [outFeatures, inFeatures]] of Object.entries(shapes)) {
      const rows = 5;
      const values = normal(rows * inFeatures, seeded(inFeatures));
      using x = device.from("f32", values, [rows, inFeatures]);
      const part = (half: "A" | "B") =>
        tensors[`base_model.model.${h1}.${name}.lora_${half}.weight`]!;
      using a = device.from("f32", part("A").values, part("A").shape);
      using b = device.from("f32", part("B").values, part("B").shape);
      using low = ops.linear(x, a);
      using side = ops.linear(low, b);
      using straight = plain.linear(name).apply(x);
      using actual = changed.linear(name).apply(x);
      const [change, original] = [await side.read(), await straight.read()];
      const expected = original.map((value, i) => value + 0.25 * change[i]!);
      using weight = changed.linear(name).weight!.narrow(0, 0, outFeatures);
      const stored = fromBf16((await weight.read()) as Uint16Array);
      // Each merged weight was rounded once, by up to half a unit: roundings of random signs in a sum over the inputs.
      const tolerance = (i: number) => {
        const [row, column] = [Math.floor(i / outFeatures), i % outFeatures];
        const weightNorm = norm(stored, column * inFeatures, inFeatures);
        const inputNorm = norm(values, row * inFeatures, inFeatures);
        const roundings = 4 * 2 ** -8 * (weightNorm / Math.sqrt(inFeatures)) * inputNorm;
        return roundings + 2 * dotTolerance(inFeatures, inputNorm, weightNorm);
      };
      expectClose(await actual.read(), expected, tolerance, name);
    }
  });

  test("is a complete directory in the source's dtype, in shards of the size asked for", () => {
    const names = files(source).filter((file) => !/^model/.test(file));
    expect(files(at("merged"))).toEqual(expect.arrayContaining(names));
    const config = (dir: string) => JSON.parse(readFileSync(join(dir, "config.json"), "utf8"));
    expect(config(at("merged"))).toEqual(config(source));
    const { tensors: entries, weightFiles } = openCheckpoint(at("merged"));
    expect(weightFiles.length).toBeGreaterThan(1);
    expect(new Set([...entries.values()].map(({ dtype }) => dtype))).toEqual(new Set(["BF16"]));
  });

  test.each([4, 8] as const)(
    "quantized to %i bits has the bytes of quantizing with the adapter",
    async (bits) => {
      using device = openDevice({ threads: 2 });
      const segments = bundledSegments(2, 64);
      const common = { segments, device, recipe: { bits } };
      const [afterwards, atOnce] = [at(`merged-${bits}`), at(`at-once-${bits}`)];
      await quantize({ ...common, source: at("merged"), output: afterwards });
      const report = await quantize({ ...common, source, adapter: at("lora"), output: atOnce });
      expect(report).toMatchObject({ source, adapter: at("lora") });
      expect(files(atOnce)).toEqual(files(afterwards));
      for (const file of files(atOnce)) {
        const same = readFileSync(join(atOnce, file)).equals(readFileSync(join(afterwards, file)));
        expect(same, file).toBe(true);
      }
    },
  );

  test.each([
    { what: "the source", output: () => source },
    { what: "a directory with files in it", output: () => at("lora") },
  ])("is not written to $what", async ({ output }) => {
    using device = openDevice({ threads: 1 });
    const before = readdirSync(output());
    const options = { source, adapter: at("lora"), output: output(), device, maxShardBytes: 1e9 };
    await expect(mergeModel(options)).rejects.toMatchObject({ code: "QUANTIZE_OUTPUT" });
    expect(readdirSync(output())).toEqual(before);
  });

  test("that is interrupted leaves nothing behind", async () => {
    using device = openDevice({ threads: 1 });
    const interruption = new AbortController();
    const merging = mergeModel({
      ...{ source, adapter: at("lora"), output: at("deep/interrupted"), device },
      maxShardBytes: 1e9,
      signal: interruption.signal,
      onProgress: ({ fraction }) => fraction > 0.5 && interruption.abort(),
    });
    await expect(merging).rejects.toMatchObject({ name: "AbortError" });
    expect(existsSync(at("deep"))).toBe(false);
  });
});

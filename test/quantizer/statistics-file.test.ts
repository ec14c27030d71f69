// Hessians kept in a file: what they give, and what is refused.
import { existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { collectStatistics, type Recipe } from "../../quantizer/index.ts";
import { openCheckpoint } from "../../runtime/index.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { quantize, tinySegments, writeTinyModel } from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);
const segments = tinySegments(6, 40);

beforeAll(async () => {
  writeTinyModel(at("model"));
  await collect("model", "statistics");
});

async function collect(model: string, name: string): Promise<void> {
  using device = openDevice({ threads: 2 });
  const output = at(`${name}.safetensors`);
  await collectStatistics({ source: at(model), output, segments, device, hessianDtype: "f32" });
}

async function run(output: string, recipe: Partial<Recipe>, statistics?: string) {
  using device = openDevice({ threads: 2 });
  return await quantize({
    ...{
      source: at("model"),
      output: at(output),
      device,
      recipe: { gptaq: 0, groupSize: 32, ...recipe },
    },
    ...(statistics === undefined ? { segments } : { segments: [], statistics: at(statistics) }),
  });
}

const codesOf = (dir: string, name: string) => {
  const entry = openCheckpoint(at(dir)).tensors.get(name);
  if (entry === undefined) throw new Error(`${name} is missing`);
  return readFileSync(entry.file).subarray(entry.begin, entry.end);
};

describe("statistics in a file", () => {
  test("give the codes of the first stage that the data itself gives", async () => {
    const recipe = { hessianDtype: "f32" } as const;
    const live = await run("live", recipe);
    const kept = await run("kept", recipe, "statistics.safetensors");
    expect(kept.statistics).toBe(at("statistics.safetensors"));
    expect(readFileSync(at("kept/report.md"), "utf8")).toContain(
      "kept statistics (`statistics.safetensors`), 240 tokens",
    );
    const first = "transformer.h.0.attn.c_attn.qweight";
    expect(codesOf("kept", first)).toEqual(codesOf("live", first));
    expect(kept.linears.map(({ name, tokens }) => [name, tokens])).toEqual(
      live.linears.map(({ name, tokens }) => [name, tokens]),
    );
  });

  test("serve other bits and groups", async () => {
    for (const recipe of [{ bits: 8 }, { groupSize: -1 }, { order: "act-order" }] as const) {
      const report = await run(`as ${JSON.stringify(recipe)}`, recipe, "statistics.safetensors");
      expect(report.linears.every(({ loss }) => Number.isFinite(loss))).toBe(true);
    }
  });

  test("are the same from the same data", async () => {
    await collect("model", "again");
    expect(readFileSync(at("again.safetensors"))).toEqual(
      readFileSync(at("statistics.safetensors")),
    );
  });

  test("of other weights are refused", async () => {
    writeTinyModel(at("other"), {
      "transformer.h.1.mlp.w1.weight": (values) => values.fill(0.01, 0, 3),
    });
    await collect("other", "others");
    await expect(run("refused", {}, "others.safetensors")).rejects.toThrow(
      /others.safetensors: made for other weights than those of .*model; calibrate that model/,
    );
    expect(existsSync(at("refused"))).toBe(false);
  });

  test("that are cut short, absent or something else are refused", async () => {
    writeFileSync(at("short.safetensors"), readFileSync(at("statistics.safetensors")));
    truncateSync(at("short.safetensors"), 3000);
    await expect(run("refused", {}, "short.safetensors")).rejects.toThrow(/short.safetensors: /);
    await expect(run("refused", {}, "none.safetensors")).rejects.toThrow(/none.safetensors/);
    const [weights = ""] = openCheckpoint(at("model")).weightFiles;
    writeFileSync(at("weights.safetensors"), readFileSync(weights));
    await expect(run("refused", {}, "weights.safetensors")).rejects.toThrow(
      "not a file that `nibble calibrate --statistics` writes",
    );
  });

  test("hold numbers, or are refused", async () => {
    const bytes = readFileSync(at("statistics.safetensors"));
    bytes.writeFloatLE(Number.NaN, bytes.length - 4);
    writeFileSync(at("nan.safetensors"), bytes);
    await expect(run("refused", {}, "nan.safetensors")).rejects.toThrow(
      /mlp.c_proj.hessian holds a value that is not finite/,
    );
  });
});

// What others do to the source and to the output directory while a run is under way.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  truncateSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { hasInterruptedRun, type QuantizationReport } from "../../quantizer/index.ts";
import { integers, seeded } from "../support/random.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { pair, writeAdapter } from "./adapters.ts";
import { quantize, writeTinyModel } from "./quantized.ts";

let root: TemporaryDirectory;
beforeAll(() => {
  root = temporaryDirectory();
});
afterAll(() => root.remove());

const at = (name: string) => join(root.path, name);
const segments = [Int32Array.from(integers(32, 128, seeded(5)))];

type Disturbance = { readonly share: number; readonly act: () => void };

/** Quantizes a model, doing something once it has come to a share of the way. */
async function run(
  name: string,
  disturbance?: Disturbance,
): Promise<QuantizationReport & { readonly resumed: number }> {
  using device = openDevice({ threads: 1 });
  let isDone = false;
  let resumed = 0;
  const report = await quantize({
    ...{ source: at(`${name}-source`), output: at(name), segments, device },
    recipe: { groupSize: 32 },
    onResume: (pieces) => {
      resumed = pieces;
    },
    onProgress: ({ fraction }) => {
      if (isDone || disturbance === undefined || fraction < disturbance.share) return;
      isDone = true;
      disturbance.act();
    },
  });
  return { ...report, resumed };
}

const weights = (name: string) => readFileSync(join(at(name), "model.safetensors"));

describe("a source file that, during a run,", () => {
  test.each([0, 0.3, 0.8])("gets other contents after %d of the way stops it", async (share) => {
    const name = `overwritten-${share}`;
    const source = writeTinyModel(at(`${name}-source`));
    const other = writeTinyModel(at(`${name}-other`), { "lm_head.weight": (w) => w.fill(0.25) });
    const act = () =>
      copyFileSync(join(other, "model.safetensors"), join(source, "model.safetensors"));
    await expect(run(name, { share, act })).rejects.toMatchObject({
      name: "CheckpointError",
      code: "CHECKPOINT_CHANGED",
    });
    expect(existsSync(at(name))).toBe(false);
  });

  test("becomes shorter between two reads stops it instead of the process", async () => {
    const source = writeTinyModel(at("short-source"));
    const act = () => truncateSync(join(source, "model.safetensors"), 4096);
    const stopped = run("short", { share: 0, act });
    await expect(stopped).rejects.toMatchObject({ code: "CHECKPOINT_CHANGED" });
  });

  test("becomes shorter in the middle of a block stops it, and the process goes on", async () => {
    const source = writeTinyModel(at("cut-source"));
    const file = join(source, "model.safetensors");
    // The last stage of the first block, whose weights are mapped by then.
    const stopped = run("cut", { share: 0.3, act: () => truncateSync(file, 4096) });
    await expect(stopped).rejects.toMatchObject({ name: "KernelError", code: "KERNEL_FILE" });
    await expect(stopped).rejects.toThrow(file);
    writeTinyModel(at("after-source"));
    await run("after");
    expect(existsSync(join(at("after"), "config.json"))).toBe(true);
  });

  test("goes away stops it, and once it is back the same call continues", async () => {
    const source = writeTinyModel(at("gone-source"));
    const away = { share: 0.5, act: () => renameSync(source, at("away")) };
    await expect(run("gone", away)).rejects.toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
    expect(hasInterruptedRun(at("gone"))).toBe(true);
    renameSync(at("away"), source);
    expect((await run("gone")).resumed).toBeGreaterThan(0);
    writeTinyModel(at("whole-source"));
    await run("whole");
    expect(weights("gone")).toEqual(weights("whole"));
  });
});

test("a small file that cannot be written at the end costs none of the work", async () => {
  writeTinyModel(at("end-source"));
  const obstacle = join(at("end"), "config.json");
  const act = () => mkdirSync(obstacle);
  await expect(run("end", { share: 0.5, act })).rejects.toMatchObject({ code: "CHECKPOINT_WRITE" });
  rmdirSync(obstacle);
  // wte, ln_f, lm_head, four norms and two blocks
  expect((await run("end")).resumed).toBe(9);
});

test("a result inside its adapter's directory does not count as a change of the adapter", async () => {
  const source = writeTinyModel(at("inside-source"));
  const adapter = writeAdapter(at("lora"), pair("lm_head", [128, 64]), {
    target_modules: ["lm_head"],
  });
  const output = join(adapter, "int4");
  const stop = new AbortController();
  using device = openDevice({ threads: 1 });
  const options = { source, adapter, output, device, segments, recipe: { groupSize: 32 } } as const;
  const stopped = quantize({
    ...{ ...options, signal: stop.signal },
    onProgress: ({ fraction }) => fraction >= 0.5 && stop.abort(new Error("enough")),
  });
  await expect(stopped).rejects.toThrow("enough");
  mkdirSync(join(adapter, "checkpoint-100"));
  let resumed = 0;
  await quantize({
    ...options,
    onResume: (pieces) => {
      resumed = pieces;
    },
  });
  expect(resumed).toBeGreaterThan(0);
});

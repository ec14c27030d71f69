// Directories that hold no adapter, or one that cannot be read.
import { existsSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { temporaryDirectory, writeTinyQwen } from "../support/tiny-checkpoint.ts";
import { code, dict, global, pickle, text, torchFileOf, tuple } from "../support/torch-file.ts";
import { adapterError, pair, tryAdapter, writeAdapter } from "./adapters.ts";
import { quantize, tinySegments } from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);
let count = 0;
const fresh = () => at(`adapter-${count++}`);

const tiny = at("tiny");
const tensors = pair("transformer.h.0.attn.c_attn", [192, 64]);

beforeAll(() => {
  writeTinyQwen(tiny);
});

describe("a directory is refused", () => {
  const missing = { name: "CheckpointError", code: "CHECKPOINT_NOT_FOUND" };

  test("that is no adapter", async () => {
    await expect(tryAdapter(tiny, tiny)).rejects.toMatchObject(missing);
    await expect(tryAdapter(at("absent"), tiny)).rejects.toMatchObject(missing);
  });

  test("without weights", async () => {
    const dir = writeAdapter(fresh(), tensors);
    rmSync(join(dir, "adapter_model.safetensors"));
    await expect(tryAdapter(dir, tiny)).rejects.toMatchObject(missing);
  });

  test("with a pickle that holds more than tensors", async () => {
    const dir = writeAdapter(fresh(), tensors, {}, ".bin");
    const call = code(global("os", "system"), tuple(text("true")), "R");
    writeFileSync(join(dir, "adapter_model.bin"), torchFileOf(pickle(dict([["a", call]]))));
    await expect(tryAdapter(dir, tiny)).rejects.toMatchObject({
      name: "CheckpointError",
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringMatching(/adapter_model\.bin.*os\.system/),
    });
  });

  test("with a truncated file", async () => {
    const dir = writeAdapter(fresh(), tensors);
    truncateSync(join(dir, "adapter_model.safetensors"), 9_000);
    await expect(tryAdapter(dir, tiny)).rejects.toMatchObject({
      name: "CheckpointError",
      message: expect.stringContaining("adapter_model.safetensors"),
    });
  });

  test("whose settings are no JSON", async () => {
    const dir = writeAdapter(fresh(), tensors);
    writeFileSync(join(dir, "adapter_config.json"), "{");
    await expect(tryAdapter(dir, tiny)).rejects.toMatchObject({ code: "CHECKPOINT_CONFIG" });
  });

  test("for a model that is quantized, and nothing is written", async () => {
    using device = openDevice({ threads: 2 });
    const recipe = { groupSize: 32 } as const;
    const common = { device, recipe, segments: tinySegments(2, 32) };
    await quantize({ ...common, source: tiny, output: at("int4") });
    const adapter = writeAdapter(fresh(), tensors);
    const again = quantize({ ...common, source: at("int4"), adapter, output: at("again") });
    await expect(again).rejects.toMatchObject(
      adapterError("QUANTIZE_ADAPTER_KIND", "int4", "Q-LoRA"),
    );
    expect(existsSync(at("again"))).toBe(false);
  });
});

// Where weights come from leaves no trace: PyTorch files give the bytes that safetensors give.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { mergeModel } from "../../quantizer/index.ts";
import { inspectCheckpoint, openModel } from "../../runtime/index.ts";
import { sequenceLogits } from "../support/logits.ts";
import {
  safetensors,
  temporaryDirectory,
  tinyQwenConfig,
  tinyQwenTensors,
} from "../support/tiny-checkpoint.ts";
import { expectSameBits } from "../support/tolerance.ts";
import { torchFile } from "../support/torch-file.ts";
import { pair, writeAdapter } from "./adapters.ts";
import { quantize, tinySegments } from "./quantized.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);

const tensors = tinyQwenTensors();
const half = tensors.length >> 1;
const shards = [tensors.slice(0, half), tensors.slice(half)];
const shardName = (i: number) => `pytorch_model-0000${i + 1}-of-00002.bin`;
const index = {
  metadata: { total_size: 1 },
  weight_map: Object.fromEntries(
    shards.flatMap((shard, i) => shard.map(({ name }) => [name, shardName(i)])),
  ),
};

/** The same weights in every way in which they may be stored. */
const sources: Readonly<Record<string, Readonly<Record<string, Uint8Array | string>>>> = {
  safetensors: { "model.safetensors": safetensors(tensors) },
  single: { "pytorch_model.bin": torchFile(tensors) },
  // Misaligned, and with the tensors in another order.
  packed: { "pytorch_model.bin": torchFile([...tensors].reverse(), 1) },
  sharded: {
    "pytorch_model.bin.index.json": JSON.stringify(index),
    ...Object.fromEntries(shards.map((shard, i) => [shardName(i), torchFile(shard)])),
    "training_args.bin": "no weights",
  },
};
const fromTorch = ["single", "packed", "sharded"];

beforeAll(() => {
  for (const [name, files] of Object.entries(sources)) {
    mkdirSync(at(name));
    writeFileSync(join(at(name), "config.json"), JSON.stringify(tinyQwenConfig));
    writeFileSync(join(at(name), "qwen.tiktoken"), "IQ== 0\n");
    for (const [file, bytes] of Object.entries(files)) writeFileSync(join(at(name), file), bytes);
  }
});

/** Every file of an output directory but the report, which names the source. */
function contents(dir: string): Record<string, string> {
  const names = readdirSync(dir).filter((name) => !name.startsWith("report."));
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(dir, name), "hex")]));
}

for (const method of ["gptq", "rtn"] as const) {
  test(`${method} makes the same files of all of them, and copies no weights`, async () => {
    using device = openDevice({ threads: 2 });
    const run = async (name: string): Promise<Record<string, string>> => {
      const output = at(`${name}-${method}`);
      const recipe = { method, groupSize: 32 } as const;
      const segments = method === "rtn" ? [] : tinySegments(3, 40);
      await quantize({ source: at(name), output, segments, recipe, device });
      return contents(output);
    };
    const expected = await run("safetensors");
    expect(Object.keys(expected)).toContain("model.safetensors");
    for (const name of fromTorch) expect(await run(name), name).toEqual(expected);
  });
}

test("an adapter from adapter_model.bin merges into the bytes that safetensors give", async () => {
  using device = openDevice({ threads: 2 });
  const layers = [0, 1].map((i) => pair(`transformer.h.${i}.attn.c_attn`, [192, 64]));
  const lora = Object.assign({}, ...layers);
  const merge = async (name: string, adapter: string): Promise<Record<string, string>> => {
    const output = at(`${name}-merged`);
    await mergeModel({ source: at(name), adapter, output, device, maxShardBytes: 1e9 });
    return contents(output);
  };
  const expected = await merge("safetensors", writeAdapter(at("lora"), lora));
  const old = writeAdapter(at("old-lora"), lora, {}, ".bin");
  for (const name of fromTorch) expect(await merge(name, old), name).toEqual(expected);
});

test("a model computes the same, and is complete", async () => {
  using device = openDevice({ threads: 1 });
  const prompt = Int32Array.from({ length: 9 }, (_, i) => 7 * i);
  const logits = async (name: string): Promise<Float32Array<ArrayBuffer>> => {
    using model = openModel(at(name), device);
    return await sequenceLogits(model, prompt);
  };
  const expected = await logits("safetensors");
  for (const name of fromTorch) {
    expectSameBits(await logits(name), expected);
    expect(inspectCheckpoint(at(name))).toMatchObject({ missing: [], unexpected: [] });
  }
});

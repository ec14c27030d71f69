// `nibble quantize` on models that are broken in every way a download, an upload or a stranger breaks them.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  safetensors,
  safetensorsWithHeader,
  temporaryDirectory,
} from "../../support/tiny-checkpoint.ts";
import {
  code,
  dict,
  global,
  pickle,
  text,
  torchFile,
  torchFileOf,
  tuple,
} from "../../support/torch-file.ts";
import { nibble } from "../support.ts";
import {
  config,
  edited,
  type Files,
  lfsPointer,
  modelFiles,
  replaced,
  singleFile,
  tensors,
  writeFiles,
} from "./model.ts";
import { expectRefusal, smallRecipe } from "./refusal.ts";

const temporary = temporaryDirectory();
afterAll(temporary.remove);
const data = join(temporary.path, "text.txt");
beforeAll(() => writeFileSync(data, "Once upon a time there was a fox. ".repeat(20)));

const shard = "model-00002-of-00002.safetensors";
const index = "model.safetensors.index.json";
const linear = "transformer.h.1.mlp.w1.weight";

/** The directory with some of its files replaced. */
const changed = (files: Files): Files => ({ ...modelFiles(), ...files });
const bytesOf = (name: string) => Buffer.from(modelFiles()[name] ?? "");

/** One file whose header says of one tensor what is not so. */
function header(fields: {
  dtype?: string;
  shape?: readonly number[];
  data_offsets?: readonly unknown[];
}): Files {
  const file = Buffer.from(safetensors(tensors()));
  const end = 8 + Number(file.readBigUInt64LE());
  const json = JSON.parse(file.toString("utf8", 8, end));
  Object.assign(json[linear], fields);
  return singleFile(safetensorsWithHeader(JSON.stringify(json), file.subarray(end)));
}

function duplicateKey(): Files {
  const file = Buffer.from(safetensors(tensors()));
  const end = 8 + Number(file.readBigUInt64LE());
  const json = file.toString("utf8", 8, end).trim();
  const again = `,"${linear}":{"dtype":"BF16","shape":[0],"data_offsets":[0,0]}}`;
  return singleFile(safetensorsWithHeader(`${json.slice(0, -1)}${again}`, file.subarray(end)));
}

/** An offset as it stands in the file: too large for JSON.stringify to write. */
function overflow(): Files {
  const file = Buffer.from(header({ data_offsets: ["begin", "end"] })["model.safetensors"] ?? "");
  const end = 8 + Number(file.readBigUInt64LE());
  const json = file.toString("utf8", 8, end).replace('["begin","end"]', "[0,18446744073709551616]");
  return singleFile(safetensorsWithHeader(json, file.subarray(end)));
}

const first = (values: Float32Array, value: number) => values.fill(value, 5, 6);

const cases: readonly (readonly [what: string, files: () => Files, names: readonly string[]])[] = [
  ["a truncated shard", () => changed({ [shard]: bytesOf(shard).subarray(0, -7) }), [shard]],
  ["an empty shard", () => changed({ [shard]: "" }), [shard]],
  [
    "a header longer than the file",
    () => singleFile(safetensorsWithHeader("{}", new Uint8Array(), 2n ** 40n)),
    ["model.safetensors"],
  ],
  [
    "a header of 2^64 - 1 bytes",
    () => singleFile(safetensorsWithHeader("{}", new Uint8Array(), 2n ** 64n - 1n)),
    ["model.safetensors"],
  ],
  ["overlapping tensors", () => header({ data_offsets: [0, 12288] }), ["model.safetensors"]],
  [
    "offsets outside the file",
    () => header({ data_offsets: [10_000_000, 10_012_288] }),
    ["model.safetensors"],
  ],
  ["offsets that overflow", overflow, [linear]],
  ["negative offsets", () => header({ data_offsets: [-12288, 0] }), [linear]],
  ["a tensor that is there twice", duplicateKey, [linear]],
  ["another dtype than its bytes", () => header({ dtype: "F32" }), [linear]],
  ["a dtype there is none of", () => header({ dtype: "F5" }), [linear]],
  ["a dtype that is no float", () => header({ dtype: "I16" }), [linear, "I16"]],
  ["another shape than its bytes", () => header({ shape: [96, 65] }), [linear]],
  [
    "another shape than config.json wants",
    () => header({ shape: [64, 96] }),
    [linear, "config.json"],
  ],
  ["a shard that is missing", () => changed({ [shard]: undefined }), [shard]],
  ["shards without their index", () => changed({ [index]: undefined }), [index]],
  ["a tensor that is missing", () => modelFiles(replaced(linear, () => [])), [linear]],
  [
    "a tensor that its shard lacks",
    () => changed({ [shard]: safetensors(tensors().slice(9, -1)) }),
    [index, "lm_head.weight"],
  ],
  [
    "a Git LFS pointer for weights",
    () => changed({ [shard]: lfsPointer }),
    [shard, "git lfs pull"],
  ],
  [
    "a Git LFS pointer for config.json",
    () => changed({ "config.json": lfsPointer }),
    ["config.json", "git lfs pull"],
  ],
  [
    "a Git LFS pointer for the index",
    () => changed({ [index]: lfsPointer }),
    [index, "git lfs pull"],
  ],
  [
    "a Git LFS pointer for the tokenizer",
    () => changed({ "qwen.tiktoken": lfsPointer }),
    ["qwen.tiktoken", "git lfs pull"],
  ],
  [
    "a Git LFS pointer for a pickle",
    () => singleFile(Buffer.from(lfsPointer), "pytorch_model.bin"),
    ["pytorch_model.bin", "git lfs pull"],
  ],
  ["no tokenizer", () => changed({ "qwen.tiktoken": undefined }), ["qwen.tiktoken"]],
  [
    "a tokenizer cut short",
    () => changed({ "qwen.tiktoken": bytesOf("qwen.tiktoken").subarray(0, 900) }),
    ["qwen.tiktoken"],
  ],
  [
    "NaN in a linear",
    () => modelFiles(edited(linear, (values) => first(values, Number.NaN))),
    [linear],
  ],
  [
    "infinity in a linear",
    () => modelFiles(edited(linear, (values) => first(values, -Infinity))),
    [linear],
  ],
  [
    "NaN in the embedding",
    () => modelFiles(edited("transformer.wte.weight", (values) => first(values, Number.NaN))),
    ["transformer.wte.weight"],
  ],
  [
    "infinity in a bias",
    () =>
      modelFiles(edited("transformer.h.0.attn.c_attn.bias", (values) => first(values, Infinity))),
    ["transformer.h.0.attn.c_attn.bias"],
  ],
  [
    "infinity in a norm",
    () => modelFiles(edited("transformer.h.0.ln_2.weight", (values) => first(values, Infinity))),
    ["transformer.h.0.ln_2.weight"],
  ],
  [
    "activations that overflow",
    () => modelFiles(edited("transformer.h.1.ln_1.weight", (values) => values.fill(3e38))),
    ["transformer.h.1 attn.c_attn"],
  ],
  [
    "another architecture",
    () =>
      changed({
        "config.json": JSON.stringify({
          ...config,
          architectures: ["LlamaForCausalLM"],
          model_type: "llama",
        }),
      }),
    ["config.json", "LlamaForCausalLM"],
  ],
  [
    "a config that is not JSON",
    () => changed({ "config.json": "{'hidden_size': 64}" }),
    ["config.json"],
  ],
  [
    "a config with a key twice",
    () => changed({ "config.json": '{"bf16":true,"bf16":false}' }),
    ["config.json", "bf16"],
  ],
  [
    "a config without a size",
    () => changed({ "config.json": JSON.stringify({ ...config, hidden_size: undefined }) }),
    ["config.json", "hidden_size"],
  ],
  ["an index that is not JSON", () => changed({ [index]: '{"weight_map":' }), [index]],
  ["an index without a map", () => changed({ [index]: "{}" }), [index, "weight_map"]],
  [
    "an index that points elsewhere",
    () => changed({ [index]: '{"weight_map":{"a":"../a.safetensors"}}' }),
    [index],
  ],
  [
    "a pickle with a foreign function",
    () =>
      singleFile(
        torchFileOf(pickle(dict([["a", code(global("os", "system"), tuple(text("true")), "R")]]))),
        "pytorch_model.bin",
      ),
    ["pytorch_model.bin", "os.system"],
  ],
  [
    "a pickle with a foreign opcode",
    () => singleFile(torchFileOf(pickle(code("}", 0xff))), "pytorch_model.bin"),
    ["pytorch_model.bin", "0xff"],
  ],
  [
    "a pickle cut short",
    () => singleFile(torchFile(tensors()).subarray(0, 90_000), "pytorch_model.bin"),
    ["pytorch_model.bin"],
  ],
];

test.each(cases)("%s ends with 3 and one line that names it", async (what, files, names) => {
  const name = what.replaceAll(/[^a-z]/gi, "-");
  const source = writeFiles(join(temporary.path, name), files());
  const output = join(temporary.path, `${name}-out`);
  const args = ["quantize", source, "--data", data, "-o", output, ...smallRecipe];
  await expectRefusal({ args, output, status: 3, names });
});

test("the model that the cases start from is quantized, and its result is no input", async () => {
  const source = writeFiles(join(temporary.path, "correct"), modelFiles());
  const output = join(temporary.path, "correct-out");
  const done = await nibble(["quantize", source, "--data", data, "-o", output, ...smallRecipe]);
  expect(done).toMatchObject({ status: 0, stderr: "" });
  const again = join(temporary.path, "again");
  const args = ["quantize", output, "--data", data, "-o", again, ...smallRecipe];
  await expectRefusal({ args, output: again, status: 3, names: ["quantized", output] });
});

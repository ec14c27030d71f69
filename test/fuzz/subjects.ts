// Small correct model directories of every kind that is read, file by file.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { adapterConfig } from "../quantizer/adapters.ts";
import {
  quantizeConfig,
  quantizedQwenConfig,
  quantizedTensors,
} from "../support/quantized-qwen.ts";
import { repositoryPath } from "../support/shared.ts";
import { type TinyTensor, tinyQwenConfig, tinyQwenTensors } from "../support/tiny-checkpoint.ts";
import {
  type FuzzFile,
  jsonFile,
  lineFile,
  plainFile,
  safetensorsFile,
  torchFuzzFile,
} from "./fuzz-file.ts";

/** The parts of a directory that are read apart from each other. */
export type Part = "model" | "tokenizer" | "generation" | "adapter";

export type Subject = {
  readonly name: string;
  /** By path within the directory. */
  readonly files: ReadonlyMap<string, FuzzFile>;
};

export function partOf(file: string): Part {
  if (file.startsWith("adapter/")) return "adapter";
  if (file === "qwen.tiktoken") return "tokenizer";
  return file === "generation_config.json" ? "generation" : "model";
}

const halves = (): readonly (readonly TinyTensor[])[] => {
  const tensors = tinyQwenTensors();
  return [tensors.slice(0, 9), tensors.slice(9)];
};

function sharded(base: string, suffix: string, make: (tensors: readonly TinyTensor[]) => FuzzFile) {
  const shards = halves().map((tensors, i) => ({
    tensors,
    file: `${base}-0000${i + 1}-of-00002${suffix}`,
  }));
  const weightMap = shards.flatMap(({ tensors, file }) =>
    tensors.map(({ name }) => [name, file] as const),
  );
  const index = { metadata: { total_size: 1 }, weight_map: Object.fromEntries(weightMap) };
  return [
    [`${base}${suffix}.index.json`, jsonFile(index)],
    ...shards.map(({ tensors, file }) => [file, make(tensors)] as const),
  ] as const;
}

/** The single bytes, and the first merges of the bundled vocabulary. */
function vocabulary(): FuzzFile {
  const lines = readFileSync(repositoryPath("examples/qwen-mini/qwen.tiktoken"), "latin1").split(
    "\n",
  );
  return lineFile(Buffer.from(`${lines.slice(0, 300).join("\n")}\n`, "latin1"));
}

const generation = {
  ...{ chat_format: "chatml", eos_token_id: 300, max_window_size: 64, max_new_tokens: 8 },
  ...{ do_sample: true, top_k: 0, top_p: 0.8, repetition_penalty: 1.1 },
};

const lora = {
  ...adapterConfig,
  ...{ r: 4, rank_pattern: { "h.1.attn.c_attn": 2 }, alpha_pattern: { "h\\.0\\..*": 3 } },
  modules_to_save: ["ln_f"],
};

function loraTensors(): readonly TinyTensor[] {
  const width = tinyQwenConfig.hidden_size;
  const zeros = (name: string, shape: readonly number[]): TinyTensor => ({
    ...{ name: `base_model.model.transformer.${name}`, dtype: "F32", shape },
    bytes: new Uint8Array(4 * shape.reduce((product, size) => product * size, 1)),
  });
  return [
    ...[4, 2].flatMap((rank, layer) => [
      zeros(`h.${layer}.attn.c_attn.lora_A.weight`, [rank, width]),
      zeros(`h.${layer}.attn.c_attn.lora_B.weight`, [3 * width, rank]),
    ]),
    zeros("ln_f.modules_to_save.default.weight", [width]),
  ];
}

/** Files that PyTorch itself wrote, each as the weights of a model. */
function pickles(): readonly Subject[] {
  const golden = join(import.meta.dirname, "../runtime/checkpoint/golden");
  const names = readdirSync(golden).filter((name) => name.endsWith(".bin"));
  return names.map((name) => ({
    name,
    files: new Map([
      ["config.json", jsonFile(tinyQwenConfig)],
      ["pytorch_model.bin", plainFile(readFileSync(join(golden, name)))],
    ]),
  }));
}

export function subjects(): readonly Subject[] {
  const common = [
    ["generation_config.json", jsonFile(generation)],
    ["qwen.tiktoken", vocabulary()],
  ] as const;
  const float = [["config.json", jsonFile(tinyQwenConfig)], ...common] as const;
  const directories: readonly (readonly [string, readonly (readonly [string, FuzzFile])[]])[] = [
    [
      "float",
      [
        ...float,
        ...sharded("model", ".safetensors", safetensorsFile),
        ["adapter/adapter_config.json", jsonFile(lora)],
        ["adapter/adapter_model.safetensors", safetensorsFile(loraTensors())],
      ],
    ],
    [
      "pytorch",
      [
        ...float,
        ...sharded("pytorch_model", ".bin", torchFuzzFile),
        ["adapter/adapter_config.json", jsonFile(lora)],
        ["adapter/adapter_model.bin", torchFuzzFile(loraTensors())],
      ],
    ],
    [
      "quantized",
      [
        ...common,
        ["config.json", jsonFile(quantizedQwenConfig)],
        ["quantize_config.json", jsonFile(quantizeConfig)],
        ["model.safetensors", safetensorsFile(quantizedTensors())],
      ],
    ],
  ];
  return [...directories.map(([name, files]) => ({ name, files: new Map(files) })), ...pickles()];
}

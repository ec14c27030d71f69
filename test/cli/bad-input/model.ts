// A model small enough to be copied and broken for every case, with a tokenizer that fits it.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromBf16, toBf16 } from "../../support/kernels.ts";
import {
  safetensors,
  type TinyTensor,
  tinyQwenConfig,
  tinyQwenTensors,
} from "../../support/tiny-checkpoint.ts";

/** The single bytes and 208 control tokens need 464 rows. */
const vocabulary = 512;

export const config: Readonly<Record<string, unknown>> = {
  ...tinyQwenConfig,
  vocab_size: vocabulary,
};

export function tensors(): readonly TinyTensor[] {
  return tinyQwenTensors().map((tensor) => {
    const [rows = 1, ...rest] = tensor.shape;
    if (rows !== tinyQwenConfig.vocab_size) return tensor;
    const bytes = Buffer.concat(Array(vocabulary / rows).fill(tensor.bytes));
    return { ...tensor, shape: [vocabulary, ...rest], bytes };
  });
}

/** The tensors with some values changed. */
export function edited(
  name: string,
  edit: (values: Float32Array<ArrayBuffer>) => void,
): readonly TinyTensor[] {
  return replaced(name, (tensor) => {
    const values = fromBf16(new Uint16Array(tensor.bytes.slice().buffer));
    edit(values);
    return [{ ...tensor, bytes: new Uint8Array(toBf16(values).buffer) }];
  });
}

/** The tensors with one replaced by others, or by none. */
export function replaced(
  name: string,
  change: (tensor: TinyTensor) => readonly TinyTensor[],
): readonly TinyTensor[] {
  if (!tensors().some((tensor) => tensor.name === name)) throw new Error(`no tensor ${name}`);
  return tensors().flatMap((tensor) => (tensor.name === name ? change(tensor) : [tensor]));
}

export type Files = Readonly<Record<string, string | Uint8Array | undefined>>;

/** The files of a correct directory; weights are in two shards. */
export function modelFiles(weights: readonly TinyTensor[] = tensors()): Files {
  const shards = [weights.slice(0, 9), weights.slice(9)] as const;
  const file = (i: number) => `model-0000${i + 1}-of-00002.safetensors`;
  const map = shards.flatMap((shard, i) => shard.map(({ name }) => [name, file(i)] as const));
  const bytes = Array.from({ length: 256 }, (_, byte) => Buffer.of(byte).toString("base64"));
  return {
    "config.json": JSON.stringify(config),
    "qwen.tiktoken": bytes.map((token, rank) => `${token} ${rank}\n`).join(""),
    "model.safetensors.index.json": JSON.stringify({ weight_map: Object.fromEntries(map) }),
    [file(0)]: safetensors(shards[0]),
    [file(1)]: safetensors(shards[1]),
  };
}

/** The files of a correct directory with its weights in one. */
export function singleFile(weights: Uint8Array, name = "model.safetensors"): Files {
  const { "config.json": json, "qwen.tiktoken": tokens } = modelFiles();
  return { "config.json": json, "qwen.tiktoken": tokens, [name]: weights };
}

/** Writes the files; one that is undefined is left out. */
export function writeFiles(dir: string, files: Files): string {
  mkdirSync(dir, { recursive: true });
  for (const [name, contents] of Object.entries(files)) {
    if (contents !== undefined) writeFileSync(join(dir, name), contents);
  }
  return dir;
}

export const lfsPointer: string = [
  "version https://git-lfs.github.com/spec/v1",
  `oid sha256:${"0".repeat(64)}`,
  "size 2059861\n",
].join("\n");

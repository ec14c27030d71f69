// Builds small safetensors files and a small Qwen checkpoint, byte by byte and without the code under test.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type TinyTensor = {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
};

/** A directory that is removed when the test lets go of it. */
export type TemporaryDirectory = { readonly path: string; readonly remove: () => void };

export function temporaryDirectory(): TemporaryDirectory {
  const path = mkdtempSync(join(tmpdir(), "nibble-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** A file with any header text, right or wrong, and any length prefix. */
export function safetensorsWithHeader(
  header: string,
  content: Uint8Array = new Uint8Array(),
  headerLength: bigint = BigInt(Buffer.byteLength(header)),
): Uint8Array {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(headerLength);
  return Buffer.concat([prefix, Buffer.from(header), content]);
}

/** A correct file, tensors in the given order; the header is padded as other writers do. */
export function safetensors(
  tensors: readonly TinyTensor[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let begin = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [begin, begin + bytes.byteLength] };
    begin += bytes.byteLength;
  }
  const json = JSON.stringify(header);
  const padded = json.padEnd(json.length + ((8 - (Buffer.byteLength(json) % 8)) % 8), " ");
  return safetensorsWithHeader(padded, Buffer.concat(tensors.map(({ bytes }) => bytes)));
}

/** config.json of a Qwen v1 model of 2 layers, width 64 and 128 tokens. */
export const tinyQwenConfig = {
  architectures: ["QWenLMHeadModel"],
  model_type: "qwen",
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  kv_channels: 32,
  intermediate_size: 192,
  vocab_size: 128,
  seq_length: 64,
  max_position_embeddings: 256,
  rotary_emb_base: 10000,
  rotary_pct: 1.0,
  layer_norm_epsilon: 1e-6,
  use_dynamic_ntk: true,
  use_logn_attn: true,
  no_bias: true,
  tie_word_embeddings: false,
  bf16: true,
  fp16: false,
  fp32: false,
  torch_dtype: "bfloat16",
} as const;

/** The tensors of tinyQwenConfig, BF16, reproducible: weights in (-0.1, 0.1), norms near 1. */
export function tinyQwenTensors(
  seed = 1,
  layers: number = tinyQwenConfig.num_hidden_layers,
): readonly TinyTensor[] {
  const { hidden_size: hidden, vocab_size: vocab } = tinyQwenConfig;
  const ffn = tinyQwenConfig.intermediate_size / 2;
  const random = generator(seed);
  const tensor = (name: string, shape: readonly number[]): TinyTensor => {
    const center = /ln_\w+\.weight$/.test(name) ? 1 : 0;
    const count = shape.reduce((product, size) => product * size, 1);
    const values = Float32Array.from({ length: count }, () => center + (random() - 0.5) / 5);
    return { name, dtype: "BF16", shape, bytes: bfloat16(values) };
  };
  const tensors = [tensor("transformer.wte.weight", [vocab, hidden])];
  for (let layer = 0; layer < layers; layer++) {
    const block = `transformer.h.${layer}`;
    tensors.push(
      tensor(`${block}.ln_1.weight`, [hidden]),
      tensor(`${block}.attn.c_attn.weight`, [3 * hidden, hidden]),
      tensor(`${block}.attn.c_attn.bias`, [3 * hidden]),
      tensor(`${block}.attn.c_proj.weight`, [hidden, hidden]),
      tensor(`${block}.ln_2.weight`, [hidden]),
      tensor(`${block}.mlp.w1.weight`, [ffn, hidden]),
      tensor(`${block}.mlp.w2.weight`, [ffn, hidden]),
      tensor(`${block}.mlp.c_proj.weight`, [hidden, ffn]),
    );
  }
  tensors.push(
    tensor("transformer.ln_f.weight", [hidden]),
    tensor("lm_head.weight", [vocab, hidden]),
  );
  return tensors;
}

/** Writes config.json and model.safetensors of a tiny Qwen model; `config` replaces single fields. */
export function writeTinyQwen(
  dir: string,
  config: Readonly<Record<string, unknown>> = {},
  tensors: readonly TinyTensor[] = tinyQwenTensors(),
): void {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "config.json"), JSON.stringify({ ...tinyQwenConfig, ...config }));
  writeFileSync(join(dir, "model.safetensors"), safetensors(tensors));
}

/** Truncates to bf16: enough for made-up weights. */
function bfloat16(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
}

/** mulberry32: the same numbers on every machine. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

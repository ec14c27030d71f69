// Random BF16 checkpoints of the true shapes, for measuring time and memory: weights with the scale of trained ones, and nothing
// in them to be accurate about.
//
//   npx tsc -p tsconfig.json --outDir build/ts
//   node build/ts/test/bench/random-checkpoint.js 1.8b|7b DIR [--layers N] [--segments N] [--length N]
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createCheckpointWriter, planShards } from "../../runtime/index.ts";
import { safetensors } from "../support/tiny-checkpoint.ts";

/** Of config.json: intermediate_size is twice the width of w1 and w2. */
const shapes = {
  "1.8b": { width: 2048, layers: 24, heads: 16, intermediate: 11008 },
  "7b": { width: 4096, layers: 32, heads: 32, intermediate: 22016 },
} as const;
const vocabulary = 151936;
const deviation = 0.02;
const partElements = 2 ** 22;

type ShapeName = keyof typeof shapes;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: "string" },
    segments: { type: "string", default: "16" },
    length: { type: "string", default: "512" },
  },
});
const [name = "", dir = ""] = positionals;
if (!isShapeName(name) || dir === "") {
  throw new Error(`usage: random-checkpoint.ts ${Object.keys(shapes).join("|")} DIR`);
}
const { width, heads, intermediate, ...shape } = shapes[name];
const layers = Number(values.layers ?? shape.layers);
const random = xorshift(1);
const table = normalTable();
mkdirSync(dir, { recursive: true });
writeConfig();
writeWeights();
writeSegments();

function isShapeName(text: string): text is ShapeName {
  return Object.hasOwn(shapes, text);
}

function writeConfig(): void {
  const config = {
    architectures: ["QWenLMHeadModel"],
    model_type: "qwen",
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    kv_channels: 128,
    intermediate_size: intermediate,
    vocab_size: vocabulary,
    seq_length: 8192,
    max_position_embeddings: 8192,
    layer_norm_epsilon: 1e-6,
    rotary_emb_base: 10000,
    rotary_pct: 1,
    use_dynamic_ntk: true,
    use_logn_attn: true,
    no_bias: true,
    tie_word_embeddings: false,
  };
  writeFileSync(join(dir, "config.json"), JSON.stringify(config, undefined, 2));
}

function tensorShapes(): [string, number[]][] {
  const ffn = intermediate / 2;
  const blocks = Array.from({ length: layers }, (_, i): [string, number[]][] => [
    [`transformer.h.${i}.ln_1.weight`, [width]],
    [`transformer.h.${i}.attn.c_attn.weight`, [3 * width, width]],
    [`transformer.h.${i}.attn.c_attn.bias`, [3 * width]],
    [`transformer.h.${i}.attn.c_proj.weight`, [width, width]],
    [`transformer.h.${i}.ln_2.weight`, [width]],
    [`transformer.h.${i}.mlp.w1.weight`, [ffn, width]],
    [`transformer.h.${i}.mlp.w2.weight`, [ffn, width]],
    [`transformer.h.${i}.mlp.c_proj.weight`, [width, ffn]],
  ]);
  return [
    ["transformer.wte.weight", [vocabulary, width]],
    ...blocks.flat(),
    ["transformer.ln_f.weight", [width]],
    ["lm_head.weight", [vocabulary, width]],
  ];
}

function writeWeights(): void {
  const entries = tensorShapes().map(([tensor, extents]) => ({
    ...{ name: tensor, shape: extents, dtype: "BF16" as const },
  }));
  using writer = createCheckpointWriter(dir, planShards(entries, 2e9), new Map());
  for (const { name: tensor, shape: extents } of entries) {
    let left = extents.reduce((product, extent) => product * extent, 1);
    while (left > 0) {
      const part = new Uint16Array(Math.min(left, partElements));
      if (/ln_\w+\.weight$/.test(tensor)) part.fill(0x3f80);
      else for (let i = 0; i < part.length; i++) part[i] = table[random() & 0xffff] ?? 0;
      writer.append(tensor, new Uint8Array(part.buffer));
      left -= part.length;
    }
  }
  writer.finish();
}

function writeSegments(): void {
  const count = Number(values.segments);
  const length = Number(values.length);
  const ids = Int32Array.from({ length: count * length }, () => (random() >>> 0) % 151643);
  const tensor = { name: "input_ids", dtype: "I32", shape: [count, length] };
  const file = safetensors([{ ...tensor, bytes: new Uint8Array(ids.buffer) }]);
  writeFileSync(join(dir, "..", `segments-${count}x${length}.safetensors`), file);
}

/** Marsaglia's xorshift32. */
function xorshift(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x;
  };
}

/** 65,536 draws from a normal distribution, as BF16. */
function normalTable(): Uint16Array {
  const bits = new Uint16Array(2 ** 16);
  const value = new Float32Array(1);
  const word = new Uint32Array(value.buffer);
  const uniform = () => ((random() >>> 0) + 1) / (2 ** 32 + 1);
  for (let i = 0; i < bits.length; i++) {
    value[0] = deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    bits[i] = ((word[0] ?? 0) + 0x8000) >>> 16;
  }
  return bits;
}

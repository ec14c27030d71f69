// Random checkpoints of the true shapes, BF16 or packed as GPTQ, for measuring time and memory: weights with the scale of trained
// ones, and nothing in them to be accurate about.
//
//   npx tsc -p tsconfig.json --outDir build/ts
//   node build/ts/test/bench/random-checkpoint.js 1.8b|7b|14b|72b|tiny DIR [--bits 4|8] [--layers N] [--segments N] [--length N]
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createCheckpointWriter, planShards } from "../../runtime/index.ts";
import { fromBf16, numberToF16 } from "../support/kernels.ts";
import { safetensors } from "../support/tiny-checkpoint.ts";

/** Of config.json: intermediate_size is twice the width of w1 and w2. */
const shapes = {
  "1.8b": { width: 2048, layers: 24, heads: 16, intermediate: 11008, vocabulary: 151936 },
  "7b": { width: 4096, layers: 32, heads: 32, intermediate: 22016, vocabulary: 151936 },
  "14b": { width: 5120, layers: 40, heads: 40, intermediate: 27392, vocabulary: 152064 },
  "72b": { width: 8192, layers: 80, heads: 64, intermediate: 49152, vocabulary: 152064 },
  /** Of no model: so small that what a step costs besides arithmetic shows. */
  tiny: { width: 256, layers: 1, heads: 2, intermediate: 512, vocabulary: 4096 },
} as const;
/** Ids from here on have no text in Qwen's vocabulary. */
const texts = 151643;
const deviation = 0.02;
const partElements = 2 ** 22;

type ShapeName = keyof typeof shapes;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bits: { type: "string" },
    layers: { type: "string" },
    segments: { type: "string", default: "16" },
    length: { type: "string", default: "512" },
  },
});
const [name = "", dir = ""] = positionals;
if (!isShapeName(name) || dir === "") {
  throw new Error(`usage: random-checkpoint.ts ${Object.keys(shapes).join("|")} DIR`);
}
const { width, heads, intermediate, vocabulary, ...shape } = shapes[name];
const layers = Number(values.layers ?? shape.layers);
const bits = values.bits === undefined ? undefined : Number(values.bits);
const groupSize = 128;
const random = xorshift(1);
const table = normalTable();
const halves = Uint16Array.from(fromBf16(table), numberToF16);
/** Parts are taken from it at random places: a large model has too many codes to draw each. */
const pool: Int32Array = Int32Array.from({ length: 2 * partElements }, random);
const normals: Uint16Array = Uint16Array.from(pool, (draw) => table[draw & 0xffff] ?? 0);
const halfNormals: Uint16Array = Uint16Array.from(pool, (draw) => halves[draw & 0xffff] ?? 0);
mkdirSync(dir, { recursive: true });
if (bits !== undefined) {
  const config = JSON.stringify(quantizationConfig(), undefined, 2);
  writeFileSync(join(dir, "quantize_config.json"), config);
}
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
    ...(bits === undefined ? {} : { quantization_config: quantizationConfig() }),
  };
  writeFileSync(join(dir, "config.json"), JSON.stringify(config, undefined, 2));
}

function quantizationConfig(): object {
  return {
    ...{ quant_method: "gptq", bits, group_size: groupSize, damp_percent: 0.01, desc_act: false },
    ...{ static_groups: false, sym: true, true_sequential: true },
  };
}

type Entry = {
  readonly name: string;
  readonly dtype: "BF16" | "F16" | "I32";
  readonly shape: readonly number[];
};

function tensorEntries(): Entry[] {
  const ffn = intermediate / 2;
  const dtype = bits === undefined ? "BF16" : "F16";
  const float = (tensor: string, extents: number[]): Entry => ({
    ...{ name: tensor, shape: extents, dtype },
  });
  const blocks = Array.from({ length: layers }, (_, i): Entry[] => {
    const block = `transformer.h.${i}`;
    return [
      float(`${block}.ln_1.weight`, [width]),
      ...linearEntries(`${block}.attn.c_attn`, 3 * width, width),
      ...(bits === undefined ? [float(`${block}.attn.c_attn.bias`, [3 * width])] : []),
      ...linearEntries(`${block}.attn.c_proj`, width, width),
      float(`${block}.ln_2.weight`, [width]),
      ...linearEntries(`${block}.mlp.w1`, ffn, width),
      ...linearEntries(`${block}.mlp.w2`, ffn, width),
      ...linearEntries(`${block}.mlp.c_proj`, width, ffn),
    ];
  });
  return [
    float("transformer.wte.weight", [vocabulary, width]),
    ...blocks.flat(),
    float("transformer.ln_f.weight", [width]),
    float("lm_head.weight", [vocabulary, width]),
  ];
}

function linearEntries(linear: string, out: number, inputs: number): Entry[] {
  if (bits === undefined)
    return [{ name: `${linear}.weight`, dtype: "BF16", shape: [out, inputs] }];
  const perWord = 32 / bits;
  const groups = Math.ceil(inputs / groupSize);
  return [
    { name: `${linear}.qweight`, dtype: "I32", shape: [inputs / perWord, out] },
    { name: `${linear}.qzeros`, dtype: "I32", shape: [groups, out / perWord] },
    { name: `${linear}.scales`, dtype: "F16", shape: [groups, out] },
    { name: `${linear}.g_idx`, dtype: "I32", shape: [inputs] },
    { name: `${linear}.bias`, dtype: "F16", shape: [out] },
  ];
}

function writeWeights(): void {
  const entries = tensorEntries();
  using writer = createCheckpointWriter(dir, planShards(entries, 2e9), new Map());
  for (const entry of entries) {
    const elements = entry.shape.reduce((product, extent) => product * extent, 1);
    for (let begin = 0; begin < elements; begin += partElements) {
      const part = contentOf(entry, begin, Math.min(elements - begin, partElements));
      writer.append(entry.name, new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    }
  }
  writer.finish();
}

/** Elements [begin, begin + count) of a tensor. */
function contentOf({ name: tensor, dtype }: Entry, begin: number, count: number) {
  if (dtype === "I32") {
    const zeros = bits === 4 ? 0x77777777 : 0x7f7f7f7f;
    if (tensor.endsWith(".qzeros")) return new Int32Array(count).fill(zeros);
    if (tensor.endsWith(".g_idx")) {
      return Int32Array.from({ length: count }, (_, i) => Math.floor((begin + i) / groupSize));
    }
    return partOf(pool, count);
  }
  const one = dtype === "BF16" ? 0x3f80 : 0x3c00;
  if (/ln_\w+\.weight$/.test(tensor)) return new Uint16Array(count).fill(one);
  // Codes are uniform over 2^bits steps, whose deviation is 2^bits / sqrt(12) of them.
  const scale = numberToF16((deviation * Math.sqrt(12)) / 2 ** (bits ?? 4));
  if (tensor.endsWith(".scales")) return new Uint16Array(count).fill(scale);
  return partOf(dtype === "BF16" ? normals : halfNormals, count);
}

function partOf<T extends Int32Array | Uint16Array>(from: T, count: number): T {
  const start = (random() >>> 0) % (from.length - count + 1);
  return from.slice(start, start + count) as T;
}

function writeSegments(): void {
  const count = Number(values.segments);
  const length = Number(values.length);
  const ids = Int32Array.from(
    { length: count * length },
    () => (random() >>> 0) % Math.min(texts, vocabulary),
  );
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

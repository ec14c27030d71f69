// A checkpoint's own weights as GGUF for llama.cpp, in f16, to be quantized by llama.cpp's tools: given token ids, so the vocabulary is
// made up. llama.cpp's `qwen` architecture: ffn_gate is the SiLU side (mlp.w2), feed_forward_length is twice the width.
//
//   node build/ts/test/bench/gguf.js CHECKPOINT OUT.gguf
import { closeSync, openSync, writeSync } from "node:fs";
import { type Device, type FloatTensor, openDevice, ops } from "../../kernels/index.ts";
import { parseQwenConfig } from "../../runtime/checkpoint/index.ts";
import { type Model, openModel } from "../../runtime/index.ts";

const alignment = 32;
const roundUp = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

const [checkpoint = "", out = ""] = process.argv.slice(2);
using device = openDevice({ threads: 2 });
using model = openModel(checkpoint, device);
const config = parseQwenConfig(model.checkpoint.config, checkpoint);
await writeGguf(plannedTensors(model, device));

type Planned = {
  readonly name: string;
  readonly shape: readonly number[];
  /** Little-endian f16, or f32 for vectors */
  read(): Promise<Uint8Array>;
};

function plannedTensors(source: Model, on: Device): readonly Planned[] {
  const { hiddenSize: width, ffnSize: ffn, layers, vocabSize } = config;
  const table = [vocabSize, width];
  const tensors: Planned[] = [
    stored("token_embd.weight", "transformer.wte.weight", table),
    ...Array.from({ length: layers }, (_, i) => {
      const [from, to] = [`transformer.h.${i}`, `blk.${i}`];
      return [
        stored(`${to}.attn_norm.weight`, `${from}.ln_1.weight`, [width]),
        linear(`${to}.attn_qkv.weight`, i, "attn.c_attn", [3 * width, width]),
        stored(`${to}.attn_qkv.bias`, `${from}.attn.c_attn.bias`, [3 * width]),
        linear(`${to}.attn_output.weight`, i, "attn.c_proj", [width, width]),
        stored(`${to}.ffn_norm.weight`, `${from}.ln_2.weight`, [width]),
        linear(`${to}.ffn_gate.weight`, i, "mlp.w2", [ffn, width]),
        linear(`${to}.ffn_up.weight`, i, "mlp.w1", [ffn, width]),
        linear(`${to}.ffn_down.weight`, i, "mlp.c_proj", [width, ffn]),
      ];
    }).flat(),
    stored("output_norm.weight", "transformer.ln_f.weight", [width]),
    stored("output.weight", "lm_head.weight", table),
  ];
  return tensors;

  function stored(name: string, from: string, shape: number[]): Planned {
    return {
      ...{ name, shape },
      async read() {
        using tensor = source.tensor(from);
        return await bytesOf(tensor, shape.length === 1 ? "f32" : "f16", on);
      },
    };
  }
  function linear(name: string, index: number, part: string, shape: number[]): Planned {
    return {
      ...{ name, shape },
      async read() {
        using block = source.loadBlock(index);
        const { stored: packed, weight: float } = block.linear(part);
        using weight = packed && ops.dequantize(packed);
        const values = weight ?? float;
        if (values === undefined) throw new Error(`${part} has no weight`);
        return await bytesOf(values, "f16", on);
      },
    };
  }
}

async function bytesOf(tensor: FloatTensor, dtype: "f16" | "f32", on: Device): Promise<Uint8Array> {
  using counts = on.zeros("i32", [2]);
  using matrix = tensor.shape.length === 1 ? tensor.reshape([1, tensor.size(0)]) : undefined;
  using cast = ops.cast(matrix ?? tensor, dtype, counts);
  const { buffer } = await cast.read();
  return new Uint8Array(buffer);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([u64(bytes.length), bytes]);
}
function entry(key: string, type: number, value: Buffer): Buffer {
  return Buffer.concat([text(key), u32(type), value]);
}
function list(key: string, type: number, items: readonly Buffer[]): Buffer {
  return entry(key, 9, Buffer.concat([u32(type), u64(items.length), ...items]));
}

function metadata(): readonly Buffer[] {
  const { layers, hiddenSize, ffnSize, heads, headDim, vocabSize, ropeBase, seqLength } = config;
  const numbers = {
    context_length: seqLength,
    block_count: layers,
    embedding_length: hiddenSize,
    feed_forward_length: 2 * ffnSize,
    "rope.dimension_count": headDim,
    "attention.head_count": heads,
  };
  const names = Array.from({ length: vocabSize }, (_, i) => text(`t${i}`));
  return [
    entry("general.architecture", 8, text("qwen")),
    ...Object.entries(numbers).map(([key, value]) => entry(`qwen.${key}`, 4, u32(value))),
    entry("qwen.rope.freq_base", 6, f32(ropeBase)),
    entry("qwen.attention.layer_norm_rms_epsilon", 6, f32(config.normEpsilon)),
    entry("tokenizer.ggml.model", 8, text("gpt2")),
    entry("tokenizer.ggml.pre", 8, text("qwen2")),
    list("tokenizer.ggml.tokens", 8, names),
    list("tokenizer.ggml.merges", 8, [text("t 1")]),
    entry("tokenizer.ggml.bos_token_id", 4, u32(vocabSize - 1)),
    entry("tokenizer.ggml.eos_token_id", 4, u32(vocabSize - 1)),
    entry("tokenizer.ggml.add_bos_token", 7, Buffer.of(0)),
  ];
}

async function writeGguf(tensors: readonly Planned[]): Promise<void> {
  let offset = 0;
  const infos = tensors.map(({ name, shape }) => {
    const isVector = shape.length === 1;
    const extents = shape.toReversed().map(u64);
    const info = [text(name), u32(shape.length), ...extents, u32(isVector ? 0 : 1), u64(offset)];
    offset += roundUp(shape.reduce((product, extent) => product * extent, isVector ? 4 : 2));
    return Buffer.concat(info);
  });
  const entries = metadata();
  const counts = [u32(3), u64(tensors.length), u64(entries.length)];
  const head = Buffer.concat([Buffer.from("GGUF"), ...counts, ...entries, ...infos]);
  const file = openSync(out, "w");
  const write = (bytes: Uint8Array) => {
    writeSync(file, bytes);
    writeSync(file, Buffer.alloc(roundUp(bytes.length) - bytes.length));
  };
  write(head);
  for (const tensor of tensors) write(await tensor.read());
  closeSync(file);
}

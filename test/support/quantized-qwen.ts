// A small quantized Qwen checkpoint, built byte by byte and without the code under test, with every part replaceable.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { safetensors, type TinyTensor, tinyQwenConfig } from "./tiny-checkpoint.ts";

/** One layer, width 128, FFN 128: every linear divides by what the strictest kernels want. */
const extents = { hidden: 128, ffn: 128, vocab: 128, groupSize: 64 };

export const quantizeConfig = {
  bits: 4,
  group_size: 64,
  damp_percent: 0.01,
  desc_act: false,
  static_groups: false,
  sym: true,
  true_sequential: true,
  model_name_or_path: null,
  model_file_base_name: "model",
  quant_method: "gptq",
  checkpoint_format: "gptq",
} as const;

export const quantizedQwenConfig: Fields = {
  ...tinyQwenConfig,
  ...{ num_hidden_layers: 1, hidden_size: extents.hidden, num_attention_heads: 2 },
  ...{ kv_channels: 64, intermediate_size: 2 * extents.ffn, vocab_size: extents.vocab },
  ...{ bf16: false, fp16: true, torch_dtype: "float16", quantization_config: quantizeConfig },
};

type Fields = Readonly<Record<string, unknown>>;

export type QuantizedQwen = {
  /** Of config.json; undefined values are left out. */
  readonly config?: Fields;
  /** Of both quantization configs. */
  readonly quantization?: Fields;
  readonly tensors?: (tensors: TinyTensor[]) => readonly TinyTensor[];
  readonly metadata?: Readonly<Record<string, string>>;
  /** Name of the weight file. */
  readonly weightFile?: string;
};

/** Writes a directory that every loader accepts, apart from what `changes` replaces. */
export function writeQuantizedQwen(dir: string, changes: QuantizedQwen = {}): string {
  mkdirSync(dir, { recursive: true });
  const json = (name: string, fields: Fields) =>
    writeFileSync(join(dir, name), JSON.stringify(fields));
  const quantization = { ...quantizeConfig, ...changes.quantization };
  json("quantize_config.json", quantization);
  json("config.json", {
    ...{ ...quantizedQwenConfig, quantization_config: quantization },
    ...changes.config,
  });
  for (const name of ["qwen.tiktoken", "tokenizer_config.json", "generation_config.json"]) {
    writeFileSync(join(dir, name), "{}");
  }
  const tensors = changes.tensors?.(quantizedTensors()) ?? quantizedTensors();
  const file = safetensors(tensors, changes.metadata ?? { format: "pt" });
  writeFileSync(join(dir, changes.weightFile ?? "model.safetensors"), file);
  return dir;
}

/** Replaces one tensor, or leaves it out. */
export function replaceTensor(
  name: string,
  change: (tensor: TinyTensor) => Partial<TinyTensor> | undefined,
): (tensors: TinyTensor[]) => readonly TinyTensor[] {
  return (tensors) => {
    if (!tensors.some((tensor) => tensor.name === name)) throw new Error(`no tensor ${name}`);
    return tensors.flatMap((tensor) => {
      if (tensor.name !== name) return [tensor];
      const changed = change(tensor);
      return changed === undefined ? [] : [{ ...tensor, ...changed }];
    });
  };
}

export function int32(values: ArrayLike<number>): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer);
}

const half = { one: 0x3c00, hundredth: 0x211f } as const;

/** The tensors of quantizedQwenConfig. */
export function quantizedTensors(): TinyTensor[] {
  const { hidden, ffn, vocab } = extents;
  const block = "transformer.h.0";
  return [
    floats("transformer.wte.weight", [vocab, hidden], half.hundredth),
    floats(`${block}.ln_1.weight`, [hidden], half.one),
    ...linear(`${block}.attn.c_attn`, hidden, 3 * hidden),
    ...linear(`${block}.attn.c_proj`, hidden, hidden),
    floats(`${block}.ln_2.weight`, [hidden], half.one),
    ...linear(`${block}.mlp.w1`, hidden, ffn),
    ...linear(`${block}.mlp.w2`, hidden, ffn),
    ...linear(`${block}.mlp.c_proj`, ffn, hidden),
    floats("transformer.ln_f.weight", [hidden], half.one),
    floats("lm_head.weight", [vocab, hidden], half.hundredth),
  ];
}

function linear(name: string, inFeatures: number, outFeatures: number): TinyTensor[] {
  const groups = inFeatures / extents.groupSize;
  const words = (suffix: string, shape: readonly number[], word: (at: number) => number) => ({
    ...{ name: `${name}.${suffix}`, dtype: "I32", shape },
    bytes: int32(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => word(at))),
  });
  return [
    words("qweight", [inFeatures / 8, outFeatures], (at) => Math.imul(at + 1, 0x9e3779b1)),
    words("qzeros", [groups, outFeatures / 8], () => 0x77777777),
    floats(`${name}.scales`, [groups, outFeatures], half.hundredth),
    words("g_idx", [inFeatures], (at) => Math.floor(at / extents.groupSize)),
    floats(`${name}.bias`, [outFeatures], name.endsWith("c_attn") ? half.hundredth : 0),
  ];
}

function floats(name: string, shape: readonly number[], bits: number): TinyTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return {
    ...{ name, dtype: "F16", shape },
    bytes: new Uint8Array(new Uint16Array(count).fill(bits).buffer),
  };
}

import { describe, expect, it } from "vitest";
import {
  type JsonObject,
  openCheckpoint,
  parseQwenConfig,
  qwenTensorShapes,
  requireTensor,
} from "../../../runtime/checkpoint/index.ts";
import { repositoryPath } from "../../support/shared.ts";
import { tinyQwenConfig, tinyQwenTensors } from "../../support/tiny-checkpoint.ts";
import { publishedSizes, qwen7BOf2023, qwen7b, qwen72b } from "./published.ts";
import { refusal } from "./refusal.ts";

/** The tiny config with some fields replaced; undefined removes one. */
function tiny(fields: Readonly<Record<string, unknown>>): JsonObject {
  const merged = { ...tinyQwenConfig, ...fields };
  return JSON.parse(JSON.stringify(merged)) as JsonObject;
}

function parse(config: Readonly<Record<string, unknown>>) {
  return parseQwenConfig(config as JsonObject, "model/config.json");
}

describe("parseQwenConfig", () => {
  it("gives the published 72B config one spelling", () => {
    expect(parse(qwen72b)).toEqual({
      hiddenSize: 8192,
      layers: 80,
      heads: 64,
      kvHeads: 64,
      headDim: 128,
      ffnSize: 24576,
      vocabSize: 152064,
      seqLength: 32768,
      maxPositions: 32768,
      ropeBase: 1_000_000,
      rotaryPct: 1,
      normEpsilon: 1e-6,
      useDynamicNtk: false,
      useLogn: false,
      hasQkvBias: true,
      hasLinearBias: false,
      tieWordEmbeddings: false,
      dtype: "auto",
    });
  });

  it("reads the 2023-08 names as the current ones", () => {
    expect(parse(qwen7BOf2023)).toEqual({
      ...parse(qwen7b),
      seqLength: 2048,
      maxPositions: 6144,
      dtype: "bfloat16",
    });
  });

  it.each(publishedSizes)("derives the parameter count of $model", ({ config, parameters }) => {
    const shapes = [...qwenTensorShapes(parse(config)).values()];
    const counts = shapes.map((shape) => shape.reduce((product, size) => product * size, 1));
    expect(counts.reduce((sum, count) => sum + count)).toBe(parameters);
  });

  it("takes the padded vocabulary, which the tensors have", () => {
    const config = tiny({ vocab_size: 100, padded_vocab_size: 128 });
    expect(parse(config).vocabSize).toBe(128);
  });

  it("takes the rotary base from rope_theta only without rotary_emb_base", () => {
    expect(parse(tiny({ rope_theta: 5e5 })).ropeBase).toBe(10_000);
    expect(parse(tiny({ rotary_emb_base: null, rope_theta: 5e5 })).ropeBase).toBe(5e5);
  });

  it.each([
    { fields: { bf16: false, fp16: true }, dtype: "float16" },
    { fields: { bf16: false, fp32: true }, dtype: "float32" },
    { fields: { bf16: true, torch_dtype: "float16" }, dtype: "bfloat16" },
    { fields: { bf16: false, torch_dtype: "float16" }, dtype: "float16" },
    { fields: { bf16: false, torch_dtype: null, dtype: "float32" }, dtype: "float32" },
    { fields: { bf16: false, torch_dtype: null }, dtype: "auto" },
  ])("reads dtype $dtype from $fields", ({ fields, dtype }) => {
    expect(parse(tiny(fields)).dtype).toBe(dtype);
  });

  it("accepts a config without model_type or without architectures, but not without both", () => {
    expect(parse(tiny({ model_type: undefined })).layers).toBe(2);
    expect(parse(tiny({ architectures: null })).layers).toBe(2);
    const error = refusal(() => parse(tiny({ model_type: undefined, architectures: undefined })));
    expect(error.code).toBe("CHECKPOINT_UNSUPPORTED");
  });

  it.each([
    { fields: { architectures: ["LlamaForCausalLM"], model_type: "llama" }, names: "llama" },
    { fields: { architectures: ["Qwen2ForCausalLM"], model_type: "qwen2" }, names: "Qwen2" },
    { fields: { model_type: "qwen2" }, names: "qwen2" },
    { fields: { architectures: "QWenLMHeadModel" }, names: "architectures" },
    { fields: { visual: { layers: 48 } }, names: "visual" },
    { fields: { audio: { n_layer: 32 } }, names: "audio" },
    { fields: { tie_word_embeddings: true }, names: "tie_word_embeddings" },
    { fields: { rotary_pct: 0.5 }, names: "rotary_pct" },
    { fields: { scale_attn_weights: false }, names: "scale_attn_weights" },
  ])("refuses as unsupported $fields", ({ fields, names }) => {
    const error = refusal(() => parse(tiny(fields)));
    expect(error.code).toBe("CHECKPOINT_UNSUPPORTED");
    expect(error.message).toContain("model/config.json");
    expect(error.message).toContain(names);
  });

  it.each([
    { fields: { hidden_size: undefined }, names: "hidden_size (or n_embd)" },
    { fields: { seq_length: undefined }, names: "seq_length" },
    { fields: { hidden_size: "64" }, names: "hidden_size" },
    { fields: { hidden_size: 64.5 }, names: "hidden_size" },
    { fields: { num_hidden_layers: 0 }, names: "num_hidden_layers" },
    { fields: { num_hidden_layers: -1 }, names: "num_hidden_layers" },
    { fields: { num_hidden_layers: 1e9 }, names: "num_hidden_layers" },
    { fields: { vocab_size: 2 ** 53 }, names: "vocab_size" },
    { fields: { intermediate_size: 191 }, names: "intermediate_size" },
    { fields: { num_attention_heads: 3 }, names: "num_attention_heads" },
    { fields: { num_attention_heads: 64, kv_channels: 1 }, names: "kv_channels" },
    { fields: { n_embd: 128 }, names: "n_embd" },
    { fields: { rotary_emb_base: 0 }, names: "rotary_emb_base" },
    { fields: { layer_norm_epsilon: 0 }, names: "layer_norm_epsilon" },
    { fields: { layer_norm_epsilon: "1e-6" }, names: "layer_norm_epsilon" },
    { fields: { use_dynamic_ntk: 1 }, names: "use_dynamic_ntk" },
    { fields: { fp16: true }, names: "bf16 and fp16" },
    { fields: { bf16: false, torch_dtype: "float8" }, names: "float8" },
    { fields: { bf16: false, torch_dtype: 16 }, names: "torch_dtype" },
  ])("refuses as malformed $fields", ({ fields, names }) => {
    const error = refusal(() => parse(tiny(fields)));
    expect(error.code).toBe("CHECKPOINT_CONFIG");
    expect(error.message).toContain("model/config.json");
    expect(error.message).toContain(names);
  });
});

describe("qwenTensorShapes", () => {
  it("lists the tensors of a checkpoint in file order", () => {
    const shapes = [...qwenTensorShapes(parse(tiny({})))];
    expect(shapes).toEqual(tinyQwenTensors().map(({ name, shape }) => [name, shape]));
  });

  it("adds four biases per block when no_bias is false", () => {
    const shapes = qwenTensorShapes(parse(tiny({ no_bias: false })));
    expect(shapes.size).toBe(2 * 12 + 3);
    expect(shapes.get("transformer.h.1.mlp.w2.bias")).toEqual([96]);
  });

  it("describes the bundled model exactly", () => {
    const checkpoint = openCheckpoint(repositoryPath("examples/qwen-mini"));
    const shapes = qwenTensorShapes(parse(checkpoint.config));
    expect([...shapes.keys()].sort()).toEqual([...checkpoint.tensors.keys()].sort());
    for (const [name, shape] of shapes) {
      expect(requireTensor(checkpoint, name, { shape, dtypes: ["BF16"] }).name).toBe(name);
    }
  });
});

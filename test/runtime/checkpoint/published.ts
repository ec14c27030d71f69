// config.json of the published Qwen v1 models, and what their sizes must come to.

type RawConfig = Readonly<Record<string, unknown>>;

const common: RawConfig = {
  architectures: ["QWenLMHeadModel"],
  auto_map: {
    AutoConfig: "configuration_qwen.QWenConfig",
    AutoModelForCausalLM: "modeling_qwen.QWenLMHeadModel",
  },
  attn_dropout_prob: 0.0,
  bf16: false,
  emb_dropout_prob: 0.0,
  fp16: false,
  fp32: false,
  initializer_range: 0.02,
  kv_channels: 128,
  layer_norm_epsilon: 1e-6,
  model_type: "qwen",
  no_bias: true,
  onnx_safe: null,
  rotary_emb_base: 10000,
  rotary_pct: 1.0,
  scale_attn_weights: true,
  tie_word_embeddings: false,
  tokenizer_class: "QWenTokenizer",
  transformers_version: "4.32.0",
  use_cache: true,
  use_dynamic_ntk: true,
  use_flash_attn: "auto",
  use_logn_attn: true,
};

export const qwen1B8: RawConfig = {
  ...common,
  hidden_size: 2048,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  intermediate_size: 11008,
  vocab_size: 151936,
  seq_length: 8192,
  max_position_embeddings: 8192,
};

export const qwen7b: RawConfig = {
  ...common,
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  intermediate_size: 22016,
  vocab_size: 151936,
  seq_length: 8192,
  max_position_embeddings: 32768,
};

/** The first release, with its own field names. */
export const qwen7BOf2023: RawConfig = {
  activation: "swiglu",
  apply_residual_connection_post_layernorm: false,
  architectures: ["QWenLMHeadModel"],
  attn_pdrop: 0.0,
  bf16: false,
  bias_dropout_fusion: true,
  bos_token_id: 151643,
  embd_pdrop: 0.0,
  eos_token_id: 151643,
  ffn_hidden_size: 22016,
  fp16: false,
  fp32: false,
  initializer_range: 0.02,
  kv_channels: 128,
  layer_norm_epsilon: 1e-6,
  model_type: "qwen",
  n_embd: 4096,
  n_head: 32,
  n_layer: 32,
  n_positions: 6144,
  no_bias: true,
  onnx_safe: null,
  padded_vocab_size: 151936,
  params_dtype: "torch.bfloat16",
  pos_emb: "rotary",
  resid_pdrop: 0.1,
  rotary_emb_base: 10000,
  rotary_pct: 1.0,
  scale_attn_weights: true,
  seq_length: 2048,
  tie_word_embeddings: false,
  tokenizer_type: "QWenTokenizer",
  transformers_version: "4.31.0",
  use_cache: true,
  use_dynamic_ntk: true,
  use_flash_attn: "auto",
  use_logn_attn: true,
  vocab_size: 151936,
};

export const qwen14b: RawConfig = {
  ...common,
  hidden_size: 5120,
  num_hidden_layers: 40,
  num_attention_heads: 40,
  intermediate_size: 27392,
  vocab_size: 152064,
  seq_length: 2048,
  max_position_embeddings: 8192,
};

export const qwen72b: RawConfig = {
  ...common,
  hidden_size: 8192,
  num_hidden_layers: 80,
  num_attention_heads: 64,
  intermediate_size: 49152,
  vocab_size: 152064,
  seq_length: 32768,
  max_position_embeddings: 32768,
  rotary_emb_base: 1000000,
  rope_theta: 1000000,
  use_dynamic_ntk: false,
  use_logn_attn: false,
};

export type PublishedSize = {
  readonly model: string;
  readonly config: RawConfig;
  readonly parameters: number;
  /** Tensor bytes at group size 128, F16, with a bias on every quantized linear. */
  readonly int8Bytes: number;
  readonly int4Bytes: number;
};

export const publishedSizes: readonly PublishedSize[] = [
  {
    model: "1.8B",
    config: qwen1B8,
    parameters: 1_836_828_672,
    int8Bytes: 2_489_905_152,
    int4Bytes: 1_878_036_480,
  },
  {
    model: "7B",
    config: qwen7b,
    parameters: 7_721_324_544,
    int8Bytes: 9_123_864_576,
    int4Bytes: 5_860_564_992,
  },
  {
    model: "7B of August 2023",
    config: qwen7BOf2023,
    parameters: 7_721_324_544,
    int8Bytes: 9_123_864_576,
    int4Bytes: 5_860_564_992,
  },
  {
    model: "14B",
    config: qwen14b,
    parameters: 14_167_290_880,
    int8Bytes: 16_029_460_480,
    int4Bytes: 9_675_642_880,
  },
  {
    model: "72B",
    config: qwen72b,
    parameters: 72_287_920_128,
    int8Bytes: 76_447_236_096,
    int4Bytes: 41_277_997_056,
  },
];

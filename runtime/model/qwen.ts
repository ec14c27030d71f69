// Qwen v1 (QWenLMHeadModel): pre-norm decoder with RoPE, dynamic NTK, LogN attention and SwiGLU. Activations are f32
// throughout, so the original's casts to bf16 between operations are not reproduced.
import {
  type ActivationDtype,
  type Device,
  type F32,
  type FloatTensor,
  type I32,
  ops,
  type RmsNorm,
} from "../../kernels/index.ts";
import type { CacheDtype } from "../cache/kv-cache.ts";
import {
  type Checkpoint,
  parseQwenConfig,
  type QuantizationConfig,
  type QwenConfig,
  qwenBlockLinears,
  qwenTensorShapes,
  readQuantizationConfig,
} from "../checkpoint/index.ts";
import type {
  Architecture,
  Block,
  BlockState,
  LoadBlockOptions,
  LongContext,
  Model,
  ModelShape,
  OpenModelOptions,
  Stage,
  StageContext,
} from "./architecture.ts";
import { Head } from "./head.ts";
import { applyGated, type Linear, loadLinear } from "./linear.ts";
import { PackedCache } from "./packed-cache.ts";
import type { Step } from "./step.ts";
import { Weights } from "./weights.ts";

export const qwen: Architecture = {
  name: "QWenLMHeadModel",
  load: (checkpoint, device, options) => new QwenModel(checkpoint, device, options),
};

/** alpha(L) = max(2^ceil(log2(L / seq_length) + 1) − 1, 1), the factor of the rotary base. */
export function ntkAlpha(length: number, trainedLength: number): number {
  return Math.max(2 ** Math.ceil(Math.log2(length / trainedLength) + 1) - 1, 1);
}

/** LogN's factor of a query at a 0-based position: ln(i) / ln(seq_length) beyond seq_length, i = position + 1. */
export function lognFactor(position: number, trainedLength: number): number {
  return position < trainedLength ? 1 : Math.log(position + 1) / Math.log(trainedLength);
}

class QwenModel implements Model {
  readonly device: Device;
  readonly checkpoint: Checkpoint;
  readonly shape: ModelShape;
  readonly longContext: LongContext;
  readonly kvCache: CacheDtype;
  readonly quantization: QuantizationConfig | undefined;
  readonly packedCache: PackedCache | undefined;
  readonly #config: QwenConfig;
  readonly #activations: ActivationDtype | undefined;
  readonly #weights: Weights;
  readonly #embedding: FloatTensor;
  readonly #finalNorm: FloatTensor;
  readonly #head: Head;
  readonly #blocks: (Block | undefined)[] = [];

  constructor(checkpoint: Checkpoint, device: Device, options: OpenModelOptions) {
    const config = parseQwenConfig(checkpoint.config, `${checkpoint.dir}/config.json`);
    this.device = device;
    this.checkpoint = checkpoint;
    this.quantization = readQuantizationConfig(checkpoint.dir, checkpoint.config);
    this.#config = config;
    this.kvCache = options.kvCache ?? "f32";
    this.#activations = options.activations;
    this.longContext = {
      dynamicNtk: options.longContext?.dynamicNtk ?? config.useDynamicNtk,
      logn: options.longContext?.logn ?? config.useLogn,
    };
    this.shape = {
      layers: config.layers,
      width: config.hiddenSize,
      heads: config.heads,
      kvHeads: config.kvHeads,
      headDim: config.headDim,
      vocabulary: config.vocabSize,
      trainedLength: config.seqLength,
      maxLength: config.maxPositions,
    };
    // An overlay may replace what is packed.
    const cacheOptions = options.overlay === undefined ? options.packedCache : undefined;
    this.packedCache =
      this.quantization &&
      cacheOptions &&
      new PackedCache(checkpoint, device, { ...cacheOptions, quantization: this.quantization });
    this.#weights = new Weights(checkpoint, device, options.overlay, this.packedCache);
    const table = [config.vocabSize, config.hiddenSize];
    // A step reads a row of it per token.
    this.#embedding = this.#weights.float("transformer.wte.weight", table, { staysOnHost: true });
    this.#finalNorm = this.#weights.float("transformer.ln_f.weight", [config.hiddenSize]);
    const head = this.#weights.float("lm_head.weight", table);
    this.#head = new Head(head, options.head ?? "exact", () => this.evict("lm_head."));
  }

  get prefetchesBlocks(): boolean {
    return this.device.kind !== "cpu" && !this.#weights.hasOverlay;
  }

  loadBlock(index: number, { isPrefetched = false }: LoadBlockOptions = {}): Block {
    const { quantization } = this;
    const stored = { quantization, activations: this.#activations, isPrefetched };
    return new QwenBlock(this.#weights, this.#config, stored, index);
  }

  block(index: number): Block {
    let block = this.#blocks[index];
    if (block === undefined) {
      block = this.loadBlock(index);
      this.#blocks[index] = block;
    }
    return block;
  }

  ropeBase(promptLength: number): number {
    const { ropeBase, headDim, seqLength } = this.#config;
    if (!this.longContext.dynamicNtk) return ropeBase;
    return ropeBase * ntkAlpha(promptLength, seqLength) ** (headDim / (headDim - 2));
  }

  queryScale(position: number): number {
    const { headDim, seqLength } = this.#config;
    return (this.longContext.logn ? lognFactor(position, seqLength) : 1) / Math.sqrt(headDim);
  }

  embed(step: Step): F32 {
    return ops.embedding(this.#embedding, step.ids);
  }

  logits(hidden: F32): F32 {
    using normed = ops.rmsNorm(hidden, this.#finalNorm, this.#config.normEpsilon);
    return this.#head.logits(normed);
  }

  argmax(hidden: F32, limit: number): I32 {
    using normed = ops.rmsNorm(hidden, this.#finalNorm, this.#config.normEpsilon);
    return this.#head.argmax(normed, limit);
  }

  prepareDecoding(): void {
    this.#head.prepare();
  }

  tensorShapes(): ReadonlyMap<string, readonly number[]> {
    return qwenTensorShapes(this.#config);
  }

  tensor(name: string): FloatTensor {
    const shape = this.tensorShapes().get(name);
    if (shape === undefined) throw new RangeError(`${name} is no tensor of this model`);
    return this.#weights.float(name, shape);
  }

  evict(prefix: string): void {
    this.#weights.evict(prefix);
  }

  [Symbol.dispose](): void {
    for (const block of this.#blocks) block?.[Symbol.dispose]();
    for (const tensor of [this.#embedding, this.#finalNorm, this.#head]) tensor[Symbol.dispose]();
    this.#weights[Symbol.dispose]();
  }
}

class QwenBlock implements Block {
  readonly name: string;
  readonly stages: readonly Stage[];
  readonly #width: number;
  readonly #norm1: RmsNorm;
  readonly #norm2: RmsNorm;
  readonly #linears: Map<string, Linear>;

  constructor(
    weights: Weights,
    config: QwenConfig,
    stored: Parameters<typeof loadLinear>[3],
    index: number,
  ) {
    this.name = `transformer.h.${index}`;
    this.#width = config.hiddenSize;
    const { isPrefetched } = stored;
    const norm = (part: string) => ({
      weight: weights.float(`${this.name}.${part}.weight`, [config.hiddenSize], { isPrefetched }),
      epsilon: config.normEpsilon,
    });
    this.#norm1 = norm("ln_1");
    this.#norm2 = norm("ln_2");
    this.#linears = new Map(
      qwenBlockLinears(config).map((linear) => [
        linear.part,
        loadLinear(weights, `${this.name}.${linear.part}`, linear, stored),
      ]),
    );
    this.stages = [
      {
        linears: ["attn.c_attn"],
        addsToResidual: false,
        run: (state, context) => this.#attend(state, context),
      },
      { linears: ["attn.c_proj"], addsToResidual: true, run: (state) => this.#project(state) },
      { linears: ["mlp.w1", "mlp.w2"], addsToResidual: false, run: (state) => this.#gate(state) },
      { linears: ["mlp.c_proj"], addsToResidual: true, run: (state) => this.#contract(state) },
    ];
  }

  linear(name: string): Linear {
    const linear = this.#linears.get(name);
    if (linear === undefined) throw new RangeError(`${this.name} has no linear ${name}`);
    return linear;
  }

  replace(name: string, linear: Linear): void {
    this.linear(name)[Symbol.dispose]();
    this.#linears.set(name, linear);
  }

  begin(hidden: F32): BlockState {
    return { hidden, input: undefined, norm: this.#norm1 };
  }

  #attend(state: BlockState, { step, cache }: StageContext): BlockState {
    using _input = state.input;
    const { x, norm } = operand(state);
    using qkv = this.linear("attn.c_attn").apply(x, { norm });
    ops.ropeStoreCache(qkv, step.ropeTable, step, cache);
    using q = qkv.narrow(1, 0, this.#width);
    return { hidden: state.hidden, input: ops.attention(q, cache, step, step.queryScale) };
  }

  #project(state: BlockState): BlockState {
    const hidden = this.#addResidual(state, "attn.c_proj");
    return { hidden, input: undefined, norm: this.#norm2 };
  }

  #gate(state: BlockState): BlockState {
    using _input = state.input;
    const { x, norm } = operand(state);
    const linears = { up: this.linear("mlp.w1"), gate: this.linear("mlp.w2") };
    return { hidden: state.hidden, input: applyGated(x, linears, norm) };
  }

  #contract(state: BlockState): BlockState {
    return { hidden: this.#addResidual(state, "mlp.c_proj"), input: undefined };
  }

  #addResidual(state: BlockState, name: string): F32 {
    using residual = state.hidden;
    using _input = state.input;
    const { x, norm } = operand(state);
    return this.linear(name).apply(x, { norm, residual });
  }

  [Symbol.dispose](): void {
    this.#norm1.weight[Symbol.dispose]();
    this.#norm2.weight[Symbol.dispose]();
    for (const linear of this.#linears.values()) linear[Symbol.dispose]();
  }
}

/** What a stage's linears are applied to. */
function operand({ hidden, input, norm }: BlockState): { x: F32; norm?: RmsNorm } {
  if (input !== undefined) return { x: input };
  if (norm === undefined) throw new RangeError("the block's last stage has run already");
  return { x: hidden, norm };
}

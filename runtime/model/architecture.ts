import type {
  ActivationDtype,
  CacheLayer,
  Device,
  F32,
  FloatTensor,
  I32,
  RmsNorm,
} from "../../kernels/index.ts";
import type { CacheDtype } from "../cache/kv-cache.ts";
import type { Checkpoint, QuantizationConfig } from "../checkpoint/index.ts";
import type { HeadMode } from "./head.ts";
import type { Linear } from "./linear.ts";
import type { PackedCache, PackedCacheOptions } from "./packed-cache.ts";
import type { Step } from "./step.ts";
import type { WeightOverlay } from "./weights.ts";

/** What a block's tokens are between two stages; it owns both tensors. */
export type BlockState = {
  /** [rows, width], the residual stream */
  readonly hidden: F32;
  /** [rows, in], input of the next stage's linears; undefined after the last stage and where there is a norm */
  readonly input: F32 | undefined;
  /** The input is the residual stream normalised by this, which is left to its linears; the block owns it. */
  readonly norm?: RmsNorm | undefined;
};

/** Where a stage runs: the rows of this step and this block's layer of the cache. */
export type StageContext = { readonly step: Step; readonly cache: CacheLayer };

/**
 * A part of a block whose linears share one input. A quantizer calibrates a stage's linears on its input (`withInput`), replaces
 * them, and then runs the stage: so each linear runs once, and later stages see quantized predecessors.
 */
export type Stage = {
  /** Names within the block, such as "attn.c_attn". */
  readonly linears: readonly string[];
  /** Whether the output of its only linear is added to the residual stream. */
  readonly addsToResidual: boolean;
  /** Consumes the state before the stage and returns the one after it. */
  run(state: BlockState, context: StageContext): BlockState;
};

/** One transformer block, its weights loaded. */
export interface Block extends Disposable {
  /** Its prefix in the checkpoint, such as "transformer.h.0". */
  readonly name: string;
  readonly stages: readonly Stage[];
  linear(name: string): Linear;
  /** Puts another linear in the place of one, which is disposed. */
  replace(name: string, linear: Linear): void;
  /** Takes ownership of the residual stream [rows, width] as it enters the block. */
  begin(hidden: F32): BlockState;
}

export type LoadBlockOptions = {
  /** Whether a GPU copies its weights beside what is called before their first use. */
  readonly isPrefetched?: boolean;
};

/** Extents that others need to know of a model. */
export type ModelShape = {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Rows of the output head; ids from the tokenizer's size on have no token. */
  readonly vocabulary: number;
  /** The length it was trained on. */
  readonly trainedLength: number;
  /** The longest sequence it is meant for. */
  readonly maxLength: number;
};

/** What attention does beyond the trained length. */
export type LongContext = {
  /** Whether the rotary base grows with a sequence (config.json: use_dynamic_ntk). */
  readonly dynamicNtk: boolean;
  /** Whether queries are scaled by the logarithm of their position (config.json: use_logn_attn). */
  readonly logn: boolean;
};

export type OpenModelOptions = {
  /** Must outlive the model. */
  readonly overlay?: WeightOverlay | undefined;
  /** What inputs of quantized linears are rounded to: "int16", the default, which costs nothing that shows, or "int8". */
  readonly activations?: ActivationDtype | undefined;
  /** Where packed weights are kept from run to run; nowhere by default. No effect on float checkpoints or with an overlay. */
  readonly packedCache?: PackedCacheOptions | undefined;
  /** "exact" by default */
  readonly head?: HeadMode | undefined;
  /** What keys and values are kept as between steps, "f32" by default */
  readonly kvCache?: CacheDtype | undefined;
  /** In the place of what config.json says. */
  readonly longContext?: Partial<LongContext> | undefined;
};

/** A decoder of token ids. Everything it computes is enqueued on its device. */
export interface Model extends Disposable {
  readonly device: Device;
  readonly checkpoint: Checkpoint;
  readonly shape: ModelShape;
  readonly longContext: LongContext;
  /** What its keys and values are to be kept as. */
  readonly kvCache: CacheDtype;
  /** How its linears are quantized; undefined for a float checkpoint. */
  readonly quantization: QuantizationConfig | undefined;
  /** Where its packed weights come from and can be saved, if `OpenModelOptions.packedCache` was given. */
  readonly packedCache: PackedCache | undefined;
  /**
   * Whether loading a block ahead hides the time it takes: on a GPU, which copies its weights, unless an overlay computes some
   * of them.
   */
  readonly prefetchesBlocks: boolean;
  /** A new instance of one block, to be disposed by the caller. */
  loadBlock(index: number, options?: LoadBlockOptions): Block;
  /** The block used for inference, loaded on first use. */
  block(index: number): Block;
  /** Rotary base for a sequence whose prompt has this many tokens; it stays while the sequence grows. */
  ropeBase(promptLength: number): number;
  /** What scores of a query at a position are multiplied by. */
  queryScale(position: number): number;
  /** [rows, width]: the residual stream as it enters the first block. */
  embed(step: Step): F32;
  /** Final norm and output head: [rows, width] to [rows, vocabulary]. */
  logits(hidden: F32): F32;
  /**
   * The greedy choice: [rows] ids below `limit` of the largest logits [rows, width] → [rows], the first of equals; −1 if one that
   * could be it is NaN.
   */
  argmax(hidden: F32, limit: number): I32;
  /** Makes what pays off over many tokens only, such as a second head to screen with. */
  prepareDecoding(): void;
  /** Name and shape of every tensor of the float model, in the order in which they are written. */
  tensorShapes(): ReadonlyMap<string, readonly number[]>;
  /** A float tensor of the checkpoint, to be disposed by the caller. */
  tensor(name: string): FloatTensor;
  /** Lets the memory of a prefix's tensors go after the operations called so far; they load again when used. */
  evict(prefix: string): void;
}

/** A model family: one file exporting one of these, and one line in load.ts. */
export type Architecture = {
  /** As in config.json's `architectures`. */
  readonly name: string;
  load(checkpoint: Checkpoint, device: Device, options: OpenModelOptions): Model;
};

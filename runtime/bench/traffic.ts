// How many bytes a step reads from memory, by formula.
import type { FloatTensor, Tensor } from "../../kernels/index.ts";
import { cacheBytesPerToken } from "../cache/kv-cache.ts";
import { type HeadMode, type Linear, type Model, peekBlock } from "../model/index.ts";

const elementBytes = { f32: 4, f16: 2, bf16: 2, i32: 4, i64: 8, u8: 1 } as const;

export type Traffic = {
  /** All linears of all blocks: codes and scales, or floats; biases */
  readonly blockBytes: number;
  readonly headBytes: number;
  /** Of keys and values for one position of one sequence, over all layers */
  readonly cacheBytesPerToken: number;
};

/**
 * Bytes that one decode step reads: every weight once, the output head once (of 8 bits where `head` says so), and the keys and
 * values of each position of each sequence. One row of the embedding per sequence is left out.
 */
export function trafficOf(model: Model, head: HeadMode): Traffic {
  const { shape } = model;
  let blockBytes = 0;
  for (let index = 0; index < shape.layers; index++) {
    using block = peekBlock(model, index);
    for (const name of block.stages.flatMap(({ linears }) => linears)) {
      blockBytes += linearBytes(block.linear(name));
    }
  }
  const weights = shape.vocabulary * shape.width;
  using stored = model.tensor("lm_head.weight");
  const exact = weights * elementBytes[stored.dtype];
  return {
    blockBytes,
    headBytes: head === "exact" ? exact : weights * (1 + 2 / 128),
    cacheBytesPerToken: cacheBytesPerToken({ ...shape, dtype: model.kvCache }),
  };
}

/** @param contexts  positions that each sequence's row sees */
export function stepBytes(traffic: Traffic, contexts: readonly number[]): number {
  const positions = contexts.reduce((sum, count) => sum + count, 0);
  return traffic.blockBytes + traffic.headBytes + positions * traffic.cacheBytesPerToken;
}

function linearBytes({ weight, stored, bias }: Linear): number {
  const extra = bias === undefined ? 0 : bytesOf(bias);
  if (stored === undefined) return extra + bytesOf(weight);
  return extra + bytesOf(stored.qweight) + bytesOf(stored.scales);
}

function bytesOf(tensor: Tensor | FloatTensor | undefined): number {
  if (tensor === undefined) return 0;
  return tensor.shape.reduce((product, extent) => product * extent, elementBytes[tensor.dtype]);
}

// How much memory a run takes, from extents alone: for --memory, and for saying so beforehand.

import { type Model, peekBlock } from "../runtime/index.ts";
import type { Adapter } from "./adapter.ts";
import { batchRows } from "./calibrated-blocks.ts";
import { QuantizeError } from "./errors.ts";
import { partElements } from "./publish.ts";
import type { Recipe } from "./recipe.ts";
import { schemeOf } from "./schemes.ts";

/** The program with its code, the calibration tokens and what its collector has not freed yet; measured, in bytes. */
const programBytes = 250e6;

/** The device keeps up to a quarter of what is live for reuse (kernels/src/core/allocator.cc). */
const deviceSlack = 1.25;

/** Bytes; what is called "work" is never held all at once: the largest counts. */
export type MemoryNeed = {
  readonly program: number;
  /** Pages of the source that are touched before they are let go: a block, two on a GPU, or a tensor that stays float. */
  readonly mapped: number;
  /** An adapter's file, the weights it replaces, and a block of merged ones. */
  readonly adapter: number;
  /** Tensors of the step that needs most: factoring a Hessian, rounding a weight, running a batch. */
  readonly work: number;
  /** Hidden states of all calibration tokens with the widest input of a stage. */
  readonly activations: number;
};

type AdapterFacts = Pick<Adapter, "names" | "storedBytes">;

export type CalibrationExtent = {
  /** Whether Hessians come from a file; then no token runs through the model. */
  readonly hasStatistics?: boolean;
  readonly tokens: number;
  /** Tokens of the longest segment. */
  readonly longest: number;
};

export function calibrationExtent(
  segments: readonly Int32Array[],
  statistics?: string,
): CalibrationExtent {
  return {
    hasStatistics: statistics !== undefined,
    tokens: segments.reduce((sum, { length }) => sum + length, 0),
    longest: segments.reduce((most, { length }) => Math.max(most, length), 0),
  };
}

/** Tokens that Hessians are made of. */
export function countedTokens({
  segments,
  masks,
}: {
  readonly segments: readonly Int32Array[];
  readonly masks?: readonly (Uint8Array | undefined)[] | undefined;
}): number {
  const ones = (mask: Uint8Array) => mask.reduce((sum, counts) => sum + (counts === 0 ? 0 : 1), 0);
  return segments.reduce((sum, ids, i) => {
    const mask = masks?.[i];
    return sum + (mask === undefined ? ids.length : ones(mask));
  }, 0);
}

/** What a run with this data would need, with every hidden state in memory. */
export function memoryNeed(
  model: Model,
  recipe: Recipe,
  { tokens, longest, hasStatistics = false }: CalibrationExtent,
  adapter?: AdapterFacts,
): MemoryNeed {
  using block = peekBlock(model, 0);
  const rows = Math.min(tokens, Math.max(batchRows, longest));
  const { width } = model.shape;
  const streams = recipe.gptaq > 0 ? 2 : 1;
  let packed = 0;
  let widest = 0;
  let solving = 0;
  let running = 0;
  for (const { linears, addsToResidual } of block.stages) {
    const extents = linears.map((name) => block.linear(name));
    const inFeatures = extents[0]?.inFeatures ?? 0;
    const outFeatures = extents.map((linear) => linear.outFeatures);
    const out = outFeatures.reduce((sum, extent) => sum + extent, 0);
    const hessian = tokens === 0 && !hasStatistics ? 0 : 4 * inFeatures ** 2;
    const residual = addsToResidual ? 4 * width * inFeatures : 0;
    const weights = Math.max(...outFeatures) * inFeatures;
    solving = Math.max(solving, solvingBytes(recipe, { hessian, residual, weights }));
    // As it is read: the triangle, the square made of it, and the device's.
    if (hasStatistics) solving = Math.max(solving, 2.5 * hessian);
    // Input and outputs, the next input, the residual stream before and after, keys and values, and a load's host copy.
    running = Math.max(running, 4 * rows * (3 * inFeatures + 2 * out + 4 * width), hessian);
    for (const [i, name] of linears.entries()) {
      const bits = mostBits(model, recipe, `${block.name}.${name}`);
      packed += ((outFeatures[i] ?? 0) * inFeatures * (bits + 0.5)) / 8;
    }
    widest = Math.max(widest, inFeatures);
  }
  return {
    program: programBytes,
    mapped: Math.max(mappedBlocks(model, block.name, adapter), mappedOthers(model, block.name)),
    adapter: adapter === undefined ? 0 : adapterBytes(model, adapter, block.name),
    work: packed + Math.max(solving, running),
    activations: 4 * tokens * (width + widest) * streams,
  };
}

/** Of a stage: a Hessian's bytes, those of what a residual stream lacks, and the elements of its largest weight. */
function solvingBytes(
  { gptaq, refine }: Recipe,
  { hessian, residual, weights }: { hessian: number; residual: number; weights: number },
): number {
  const refines = refine !== "none";
  // What inputs, and a residual stream, lack to those of the float model.
  const crosses = gptaq > 0 ? hessian + residual : 0;
  // The Hessian and the factor; refining takes a damped Hessian.
  const matrices = 2 + (refines ? 1 : 0);
  // Copies of a weight, one more of residuals where it is refined, and codes twice.
  const copies = weights * ((refines ? 5 : 4) * 4 + 2);
  // Before, a permuted copy of the Hessian lies beside it and the factor.
  return Math.max(3 * hessian, matrices * hessian + copies) + crosses;
}

/** Of the same linear in any block. */
function mostBits(model: Model, recipe: Recipe, first: string): number {
  if (recipe.rules.length === 0) return recipe.bits;
  const bits = Array.from({ length: model.shape.layers }, (_, i) => {
    const name = first.replace(/\.0\./, `.${i}.`);
    return schemeOf(recipe, name)?.bits ?? 16;
  });
  return Math.max(...bits);
}

/** The largest resident size to expect with so many bytes of hidden states in memory. */
function peakBytes(need: MemoryNeed, activations: number): number {
  const { program, mapped, adapter, work } = need;
  return program + mapped + adapter + deviceSlack * (work + activations);
}

/** For the whole program; one that is not required is met as well as can be. */
export type MemoryLimit = { readonly bytes: number; readonly isRequired: boolean };

/** In bytes. */
export type MemoryPlan = {
  /** Infinite without one. */
  readonly limit: number;
  /** Largest resident size to expect. */
  readonly peak: number;
  /** The same with every hidden state in memory. */
  readonly unlimitedPeak: number;
  /** Hidden states that may stay in memory. */
  readonly budget: number;
  /** Hidden states that go to a temporary file. */
  readonly spilled: number;
};

/**
 * What stays in memory under a limit, and what does not.
 *
 * @throws QuantizeError QUANTIZE_MEMORY if there is no room even without any hidden state, naming the least that works
 */
export function planMemory(need: MemoryNeed, limit: MemoryLimit | undefined): MemoryPlan {
  const least = peakBytes(need, 0);
  const asked = limit?.bytes ?? Number.POSITIVE_INFINITY;
  if (asked < least && limit?.isRequired) throw tooLittle(asked, least);
  const bytes = Math.max(asked, least);
  const budget = Math.floor((bytes - least) / deviceSlack);
  const kept = Math.min(need.activations, budget);
  return {
    limit: bytes,
    peak: peakBytes(need, kept),
    unlimitedPeak: peakBytes(need, need.activations),
    budget,
    spilled: need.activations - kept,
  };
}

function tooLittle(asked: number, least: number): QuantizeError {
  const gigabytes = Math.ceil(least / 1e7) / 100;
  return new QuantizeError(
    "QUANTIZE_MEMORY",
    `--memory ${asked} is too little for this model: with every hidden state on the disk it takes ${gigabytes} GB; ` +
      `give --memory ${gigabytes}GB or more`,
  );
}

function adapterBytes(
  model: Model,
  { names, storedBytes: own }: AdapterFacts,
  block: string,
): number {
  const changed = new Set(names);
  const blocks = block.replace(/\d+$/, "");
  const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0);
  const others = storedBytes(model, (name) => changed.has(name) && !name.startsWith(blocks));
  const merged = storedBytes(model, (name) => changed.has(name) && name.startsWith(`${block}.`));
  // What replaces an embedding is the model's, and another copy while it is written. A merge takes three copies as f32.
  return own + 2 * sum(others) + sum(merged) + 3 * 2 * Math.max(0, ...merged);
}

function mappedBlocks(model: Model, block: string, adapter: AdapterFacts | undefined): number {
  const stored = storedBytes(model, (name) => name.startsWith(`${block}.`));
  // A GPU gets the next block's meanwhile, but not with an adapter, whose weights are computed.
  const isPrefetched = model.prefetchesBlocks && adapter === undefined;
  return (isPrefetched ? 2 : 1) * stored.reduce((a, b) => a + b, 0);
}

function mappedOthers(model: Model, block: string): number {
  const blocks = block.replace(/\d+$/, "");
  const largest = Math.max(0, ...storedBytes(model, (name) => !name.startsWith(blocks)));
  // A part as it is stored, converted, and on its way to the file, at most as f32.
  return largest + 3 * 4 * Math.min(partElements, largest / 2);
}

function storedBytes(model: Model, isMeant: (name: string) => boolean): readonly number[] {
  const entries = [...model.checkpoint.tensors.values()].filter(({ name }) => isMeant(name));
  return entries.map(({ begin, end }) => end - begin);
}

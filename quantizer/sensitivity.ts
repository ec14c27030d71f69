// How much each linear's rounding costs the model: what a budget of bits is spent by.
import { type F32, ops, weightBits } from "../kernels/index.ts";
import {
  type Block,
  floatLinear,
  KvCache,
  type Linear,
  type Model,
  runBlock,
  Step,
  stepOptions,
} from "../runtime/index.ts";
import type { StorageUnit } from "./allocation.ts";
import { roundInPlace } from "./methods/index.ts";
import type { QuantizeProgress } from "./progress.ts";
import { defaultRecipe, groupSizes } from "./recipe.ts";
import type { LinearScheme } from "./schemes.ts";

/** Tokens that divergences are measured on. */
const sampledTokens = 2048;
/** Rows whose distributions are compared at a time; bounds memory. */
const chunkRows = 128;
/** What divergence is measured at; other schemes' follow by their rounding errors, whose squares it is proportional to. */
const measured = { bits: 4, groupSize: 128 } as const;

export type SensitivityOptions = {
  readonly segments: readonly Int32Array[];
  readonly signal?: AbortSignal | undefined;
  onProgress?(progress: QuantizeProgress): void;
};

/**
 * For every linear the KL divergence from the float model that rounding it to nearest causes, alone: measured with 4 bits in
 * groups of 128, and for other schemes by the ratio of rounding errors. Linears of a stage are one unit, since loaders fuse them.
 */
export async function measureSensitivity(
  model: Model,
  { segments, signal, onProgress }: SensitivityOptions,
): Promise<readonly StorageUnit[]> {
  using sample = new Sample(model, segments);
  await sample.run();
  const units: StorageUnit[] = [];
  const { layers } = model.shape;
  for (let i = 0; i < layers; i++) {
    const stages = model.block(i).stages.map(({ linears }) => linears);
    for (const [stage, linears] of stages.entries()) {
      signal?.throwIfAborted();
      const label = `sensitivity of ${model.block(i).name} ${linears.join(", ")}`;
      onProgress?.({ label, fraction: (i + stage / stages.length) / layers });
      units.push(await measureUnit(model, sample, i, linears));
    }
  }
  return units;
}

async function measureUnit(
  model: Model,
  sample: Sample,
  index: number,
  linears: readonly string[],
): Promise<StorageUnit> {
  using block = model.loadBlock(index);
  const errors = new Map<string, number>();
  let weights = 0;
  for (const name of linears) {
    const linear = block.linear(name);
    weights += linear.inFeatures * linear.outFeatures;
    const rounded = await roundedLinear(linear, errors);
    block.replace(name, rounded);
  }
  const divergence = await sample.divergence(block, index);
  const base = errors.get(keyOf(measured)) ?? 0;
  const { inFeatures } = block.linear(linears[0] ?? "");
  const possible = schemesFor(inFeatures).filter((scheme) => isOption(scheme, inFeatures));
  const options = possible.map((scheme) => {
    const share = base > 0 ? (errors.get(keyOf(scheme)) ?? 0) / base : 0;
    const cost = scheme.bits + (16 + scheme.bits) / scheme.groupSize;
    return { ...scheme, cost, divergence: divergence * share };
  });
  return { linears: linears.map((name) => `${block.name}.${name}`), weights, options };
}

function keyOf({ bits, groupSize }: LinearScheme): string {
  return `${bits} ${groupSize}`;
}

/** As `rtn` rounds, without clipping. */
function roundedWeight(weight: F32, scheme: LinearScheme): F32 {
  const w = ops.copy(weight);
  const recipe = { ...defaultRecipe, ...scheme, grid: "min-max" } as const;
  const { codes, scales, zeros } = roundInPlace(w, recipe);
  for (const tensor of [codes, scales, zeros]) tensor[Symbol.dispose]();
  return w;
}

function isMeasured({ bits, groupSize }: LinearScheme): boolean {
  return bits === measured.bits && groupSize === measured.groupSize;
}

/** What is tried: the measured scheme too where its groups do not divide the inputs and it is no option. */
function schemesFor(inFeatures: number): readonly LinearScheme[] {
  const all = weightBits.flatMap((bits) => groupSizes.map((groupSize) => ({ bits, groupSize })));
  return all.filter((scheme) => isMeasured(scheme) || isOption(scheme, inFeatures));
}

function isOption({ groupSize }: LinearScheme, inFeatures: number): boolean {
  return groupSize !== -1 && inFeatures % groupSize === 0;
}

/** The linear with its weight rounded as measured; adds up the squared errors of every scheme. */
async function roundedLinear(linear: Linear, errors: Map<string, number>): Promise<Linear> {
  const { weight, bias, inFeatures } = linear;
  if (weight === undefined) throw new RangeError("a float model has float weights");
  const { device } = weight;
  using counts = device.zeros("i32", [2]);
  using original = ops.cast(weight, "f32", counts);
  for (const scheme of schemesFor(inFeatures)) {
    using rounded = roundedWeight(original, scheme);
    using squares = device.zeros("f32", [original.size(0)]);
    ops.accumulateSquares(original, rounded, squares);
    const error = (await squares.read()).reduce((sum, x) => sum + x, 0);
    const key = keyOf(scheme);
    errors.set(key, (errors.get(key) ?? 0) + error);
  }
  using flat = bias?.reshape([1, bias.size(0)]);
  using copied = flat && ops.copy(flat);
  return floatLinear(roundedWeight(original, measured), copied?.reshape([copied.size(1)]));
}

/** Some calibration tokens in the float model: the residual stream before every block and at the end. */
class Sample implements Disposable {
  readonly #model: Model;
  readonly #cache: KvCache;
  readonly #step: Step;
  /** Before block i; the last is what the head sees. */
  readonly #hidden: F32[] = [];

  constructor(model: Model, segments: readonly Int32Array[]) {
    this.#model = model;
    const chosen = chooseSegments(segments);
    const blockSize = 64;
    const room = chosen.reduce(
      (sum, ids) => sum + Math.ceil(ids.length / blockSize) * blockSize,
      0,
    );
    this.#cache = new KvCache(model.device, { ...model.shape, layers: 1, blockSize, tokens: room });
    const parts = chosen.map((tokens) => {
      const sequence = this.#cache.open();
      this.#cache.extend(sequence, tokens.length);
      const ropeBase = model.ropeBase(tokens.length);
      return { tokens, start: 0, blocks: [...sequence.blocks], ropeBase };
    });
    this.#step = new Step(model.device, parts, stepOptions(model));
  }

  async run(): Promise<void> {
    this.#hidden.push(this.#model.embed(this.#step));
    for (let i = 0; i < this.#model.shape.layers; i++) {
      this.#hidden.push(this.#advance(this.#model.block(i), i));
      await this.#model.device.sync();
    }
  }

  /** What comes out of block i if it is the given one. */
  #advance(block: Block, i: number): F32 {
    return runBlock(block, ops.copy(this.#before(i)), this.#context);
  }

  get #context() {
    return { step: this.#step, cache: this.#cache.layer(0) };
  }

  #before(i: number): F32 {
    const hidden = this.#hidden[i];
    if (hidden === undefined) throw new RangeError(`block ${i} has not been reached`);
    return hidden;
  }

  /** Mean KL divergence from the float model, in nats, with another block in the place of block `index`. */
  async divergence(block: Block, index: number): Promise<number> {
    const model = this.#model;
    let hidden = this.#advance(block, index);
    for (let i = index + 1; i < model.shape.layers; i++) {
      hidden = runBlock(model.block(i), hidden, this.#context);
    }
    using changed = hidden;
    const original = this.#before(model.shape.layers);
    const rows = changed.size(0);
    let sum = 0;
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      using p = logProbabilities(model, original, row, count);
      using q = logProbabilities(model, changed, row, count);
      using kl = ops.klDivergence(p, q);
      for (const value of await kl.read()) sum += value;
    }
    return sum / rows;
  }

  [Symbol.dispose](): void {
    for (const hidden of this.#hidden) hidden[Symbol.dispose]();
    this.#step[Symbol.dispose]();
    this.#cache[Symbol.dispose]();
  }
}

function logProbabilities(model: Model, hidden: F32, row: number, count: number): F32 {
  using rows = hidden.narrow(0, row, count);
  using logits = model.logits(rows);
  return ops.logSoftmax(logits);
}

/** The first segments, the last of them cut, of so many tokens together. */
function chooseSegments(segments: readonly Int32Array[]): readonly Int32Array[] {
  const chosen: Int32Array[] = [];
  let left = sampledTokens;
  for (const segment of segments) {
    if (left === 0) break;
    const taken = segment.subarray(0, left);
    if (taken.length > 0) chosen.push(taken);
    left -= taken.length;
  }
  return chosen;
}

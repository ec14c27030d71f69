// Statistics of a stage's inputs and what a solver needs of them.
import { type Device, type F32, type I32, ops } from "../kernels/index.ts";
import type { StageRows } from "./calibrated-blocks.ts";
import { QuantizeError } from "./errors.ts";

/** Sums xxᵀ over calibration tokens. */
export class HessianSum implements Disposable {
  readonly #gram: F32;
  readonly #cross: F32 | undefined;
  readonly #residual: F32 | undefined;
  readonly #dtype: "f32" | "bf16";
  readonly #gptaq: number;
  #tokens = 0;
  #isFinished = false;

  /** @param options.dtype  what activations are rounded to before they are multiplied; sums are f32 @param options.gptaq  as in a recipe */
  constructor(
    device: Device,
    inFeatures: number,
    options: {
      readonly dtype: "f32" | "bf16";
      readonly gptaq: number;
      readonly residualWidth?: number | undefined;
    },
  ) {
    this.#dtype = options.dtype;
    this.#gram = device.zeros("f32", [inFeatures, inFeatures]);
    this.#gptaq = options.gptaq;
    if (options.gptaq === 0) return;
    this.#cross = device.zeros("f32", [inFeatures, inFeatures]);
    const width = options.residualWidth;
    if (width !== undefined) this.#residual = device.zeros("f32", [width, inFeatures]);
  }

  /** @param original  the same tokens in the float model, unless gptaq is 0 */
  add({ input, hidden }: StageRows, original?: StageRows): void {
    ops.accumulateGram(input, this.#gram, this.#dtype);
    this.#tokens += input.size(0);
    if (original === undefined) return;
    const accumulate = (values: { x: F32; original: F32; inputs: F32 }, sum: F32 | undefined) => {
      if (sum !== undefined) ops.accumulateCross(values, sum, this.#dtype);
    };
    accumulate({ x: input, original: original.input, inputs: input }, this.#cross);
    accumulate({ x: hidden, original: original.hidden, inputs: input }, this.#residual);
  }

  /**
   * The Hessian Σ xxᵀ / tokens, taken out of this sum; undefined without a token.
   *
   * @param layer  whose inputs these are, for messages
   * @throws QuantizeError QUANTIZE_NOT_FINITE if an activation was NaN or infinite, or too large to square
   */
  async finish(layer: string): Promise<Hessian | undefined> {
    if (this.#tokens === 0) return undefined;
    const diagonal = ops.finishHessian(this.#gram, 1 / this.#tokens);
    const values = await diagonal.read();
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      diagonal[Symbol.dispose]();
      throw new QuantizeError(
        "QUANTIZE_NOT_FINITE",
        `${layer}: the calibration activations of input ${bad} are not finite; ` +
          "the model overflows on this data or has a broken weight in an earlier layer",
      );
    }
    for (const sum of [this.#cross, this.#residual]) {
      if (sum !== undefined) ops.scaleAndShift(sum, this.#gptaq / this.#tokens, 0);
    }
    this.#isFinished = true;
    return new Hessian({
      ...{ matrix: this.#gram, tokens: this.#tokens },
      ...{ cross: this.#cross, residualCross: this.#residual },
      ...{ diagonal, diagonalValues: values },
    });
  }

  [Symbol.dispose](): void {
    if (this.#isFinished) return;
    this.#gram[Symbol.dispose]();
    this.#cross?.[Symbol.dispose]();
    this.#residual?.[Symbol.dispose]();
  }
}

/** [in, in], of the inputs of a stage's linears. */
export class Hessian implements Disposable {
  readonly matrix: F32;
  /** [in]: zero for inputs that no token reached. */
  readonly diagonal: F32;
  readonly diagonalValues: Float32Array;
  readonly tokens: number;
  /** [in, in]: gptaq · Σ (x̃ − x)ᵀx / tokens, where the float model has inputs x̃; undefined if gptaq is 0. */
  readonly cross: F32 | undefined;
  /** [width, in]: the same with the residual stream in the place of inputs, where a stage's output is added to it. */
  readonly residualCross: F32 | undefined;

  constructor(parts: {
    readonly matrix: F32;
    readonly diagonal: F32;
    readonly diagonalValues: Float32Array;
    readonly tokens: number;
    readonly cross?: F32 | undefined;
    readonly residualCross?: F32 | undefined;
  }) {
    this.matrix = parts.matrix;
    this.diagonal = parts.diagonal;
    this.diagonalValues = parts.diagonalValues;
    this.tokens = parts.tokens;
    this.cross = parts.cross;
    this.residualCross = parts.residualCross;
  }

  /** Of the matrix: one for inputs that no token reached. */
  get meanDiagonal(): number {
    const values = this.diagonalValues;
    return values.reduce((sum, value) => sum + (value === 0 ? 1 : value), 0) / values.length;
  }

  get deadInputs(): number {
    return this.diagonalValues.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
  }

  /** Inputs by descending diagonal, ties in their order: the order of "act-order". */
  descendingOrder(): Int32Array<ArrayBuffer> {
    const values = this.diagonalValues;
    const order = Int32Array.from(values, (_, i) => i);
    return order.sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
  }

  /** With λ on the diagonal, λ a share of its mean; in another order of inputs if one is given. */
  damped(damping: number, order: I32 | undefined): F32 {
    const matrix =
      order === undefined ? ops.copy(this.matrix) : permuteSymmetric(this.matrix, order);
    ops.scaleAndShift(matrix, 1, damping * this.meanDiagonal);
    return matrix;
  }

  [Symbol.dispose](): void {
    for (const tensor of [this.matrix, this.diagonal, this.cross, this.residualCross]) {
      tensor?.[Symbol.dispose]();
    }
  }
}

/** A factor of the inverse of the damped Hessian, and the damping that it took. */
export type DampedFactor = { readonly factor: F32; readonly damping: number };

/** Ten times more at a step; the last adds the whole mean of the diagonal, which nothing sound survives. */
function* dampingLadder(damping: number): Generator<number> {
  for (let step = damping; step < 1; step *= 10) yield step;
  yield 1;
}

/**
 * Factors a Hessian, with more damping where the recipe's is too little.
 *
 * @param order  permutation of the inputs to apply first
 * @returns undefined if no damping up to the mean of the diagonal makes it positive definite
 */
export async function factorHessian(
  hessian: Hessian,
  damping: number,
  order: I32 | undefined,
): Promise<DampedFactor | undefined> {
  using permuted = order && permuteSymmetric(hessian.matrix, order);
  for (const step of dampingLadder(damping)) {
    const { factor, status } = ops.inverseCholesky(permuted ?? hessian.matrix, step);
    const [failed] = await status.read();
    status[Symbol.dispose]();
    if (failed === 0) return { factor, damping: step };
    factor[Symbol.dispose]();
  }
  return undefined;
}

function permuteSymmetric(matrix: F32, order: I32): F32 {
  using rows = ops.gatherRows(matrix, order);
  return ops.gatherColumns(rows, order);
}

import { type F32, type FloatTensor, type HeadScreen, type I32, ops } from "../../kernels/index.ts";

/**
 * How logits are computed. "exact": by the stored weight. "screened": a greedy choice reads a copy of 8 bits and computes exactly
 * what that does not rule out, with the same result; logits are exact. "int8": logits come from that copy.
 */
export type HeadMode = "exact" | "screened" | "int8";

export const headModes: readonly HeadMode[] = ["exact", "screened", "int8"];

/** The output head [vocabulary, width], which it owns. */
export class Head implements Disposable {
  readonly #weight: FloatTensor;
  readonly #mode: HeadMode;
  readonly #onPacked: () => void;
  #screen: HeadScreen | undefined;

  /** @param onPacked  called when the weight has been read whole, and few of its rows will be from then on */
  constructor(weight: FloatTensor, mode: HeadMode, onPacked: () => void) {
    this.#weight = weight;
    this.#mode = mode;
    this.#onPacked = onPacked;
  }

  /** Makes the copy of 8 bits, where the mode has one: reads the whole weight once. */
  prepare(): void {
    if (this.#mode === "exact" || this.#screen !== undefined) return;
    this.#screen = ops.packRows(this.#weight);
    this.#onPacked();
  }

  /** @param x  [rows, width] @returns [rows, vocabulary] */
  logits(x: F32): F32 {
    if (this.#mode !== "int8") return ops.linear(x, this.#weight);
    this.prepare();
    return ops.quantizedLinear(x, required(this.#screen).packed);
  }

  /** [rows]: the id of the largest of the first `limit` logits, the first of equals; −1 if one that could be it is NaN. */
  argmax(x: F32, limit: number): I32 {
    // Before it is prepared, the exact head is faster than making the copy.
    if (this.#mode === "screened" && this.#screen !== undefined) {
      const { index, scored } = ops.screenedArgmax(x, this.#weight, this.#screen, limit);
      scored[Symbol.dispose]();
      return index;
    }
    using logits = this.logits(x);
    return ops.argmax(logits, limit);
  }

  [Symbol.dispose](): void {
    this.#weight[Symbol.dispose]();
    if (this.#screen === undefined) return;
    const { packed, slack } = this.#screen;
    for (const tensor of [packed.words, packed.scales, slack]) tensor[Symbol.dispose]();
  }
}

function required(screen: HeadScreen | undefined): HeadScreen {
  if (screen === undefined) throw new RangeError("the head was not prepared");
  return screen;
}

// Batches on an accelerator: a few sizes, filled up with rows that belong to nobody.
import type { DrawRow } from "../../../kernels/index.ts";
import type { Model, StepPart } from "../../model/index.ts";
import { defaultSampling } from "../sampling-options.ts";

const smallBatches = [1, 2, 4, 8, 16, 24, 32, 48, 64] as const;
const largeStep = 32;

/**
 * Rows of the captured step that a batch of so many runs as: the next of 1, 2, 4, 8, 16, 24, 32, 48, 64 and multiples of 32. From 3
 * rows on fewer than half of them are idle, from 17 on at most a third: an accelerator reads the same weights for them.
 */
export function bucketOf(batch: number): number {
  const small = smallBatches.find((size) => size >= batch);
  return small ?? Math.ceil(batch / largeStep) * largeStep;
}

/** What idle rows compute: the same each time, seen by nobody. */
export class IdleRows {
  readonly #part: StepPart;
  readonly #draw: DrawRow = { options: { ...defaultSampling, temperature: 0 }, uniform: 0 };

  /** @param block  of the cache, which no sequence has: all idle rows write the same key and value to its first position */
  constructor(model: Model, block: number) {
    this.#part = { tokens: [0], start: 0, blocks: [block], ropeBase: model.ropeBase(1) };
  }

  /** @returns `rows` parts, of which those given come first */
  parts(given: readonly StepPart[], rows: number): readonly StepPart[] {
    return filled(given, this.#part, rows);
  }

  draws(given: readonly DrawRow[], rows: number): readonly DrawRow[] {
    return filled(given, this.#draw, rows);
  }
}

function filled<T>(given: readonly T[], idle: T, length: number): readonly T[] {
  return [...given, ...Array.from({ length: length - given.length }, () => idle)];
}

// Drawing tokens on the device: what sampler.ts does on the host, with the same random numbers.
import { type DrawRow, noId, type SeenIds } from "../../kernels/index.ts";
import { GenerationError } from "./errors.ts";
import { createRandom } from "./random.ts";
import type { SamplingOptions } from "./sampling-options.ts";

/** One request's rows to draw from: its options, its random numbers and the ids it has seen. */
export class Drawing {
  readonly #options: SamplingOptions;
  readonly #promptLength: number;
  readonly #random: () => number;
  /** Drawn but not taken yet. */
  readonly #uniforms: number[] = [];
  readonly #seen = new Seen();

  /** @param promptLength  how much of a history is the prompt, to which presence and frequency penalties do not apply */
  constructor(options: SamplingOptions, promptLength: number) {
    this.#options = options;
    this.#promptLength = promptLength;
    this.#random = createRandom(options.seed);
  }

  /**
   * Rows for the ids after a history, and after each of some guesses that follow it.
   *
   * @param history  continues that of the call before
   */
  rows(history: readonly number[], guesses: readonly number[] = []): DrawRow[] {
    while (this.#uniforms.length <= guesses.length) this.#uniforms.push(this.#random());
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#options;
    const penalizes = repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
    if (penalizes) this.#seen.extend(history, this.#promptLength);
    return this.#uniforms.slice(0, guesses.length + 1).map((uniform, row) => ({
      options: this.#options,
      uniform,
      seen: penalizes ? this.#seen.with(guesses.slice(0, row)) : undefined,
    }));
  }

  /** The random number of the next row, which is used up. */
  takeUniform(): number {
    return this.#uniforms.shift() ?? this.#random();
  }
}

/** Ids of a growing history, each once, and how often each was generated. */
class Seen {
  readonly #slots = new Map<number, number>();
  #ids = new Int32Array(256);
  #times = new Int32Array(256);
  #length = 0;

  extend(history: readonly number[], promptLength: number): void {
    for (; this.#length < history.length; this.#length += 1) {
      const id = history[this.#length] ?? -1;
      const slot = this.#slots.get(id) ?? this.#add(id);
      if (this.#length >= promptLength) this.#times[slot] = (this.#times[slot] ?? 0) + 1;
    }
  }

  #add(id: number): number {
    const slot = this.#slots.size;
    if (slot === this.#ids.length) {
      this.#ids = enlarged(this.#ids, 2 * slot);
      this.#times = enlarged(this.#times, 2 * slot);
    }
    this.#slots.set(id, slot);
    this.#ids[slot] = id;
    return slot;
  }

  /** As if these had been generated too; to be used before the next call. */
  with(guesses: readonly number[]): SeenIds {
    const { size } = this.#slots;
    if (guesses.length === 0) {
      return { ids: this.#ids.subarray(0, size), times: this.#times.subarray(0, size) };
    }
    const added = [...new Set(guesses)].filter((id) => !this.#slots.has(id));
    const ids = enlarged(this.#ids.subarray(0, size), size + added.length);
    const times = enlarged(this.#times.subarray(0, size), size + added.length);
    ids.set(added, size);
    for (const id of guesses) {
      const slot = this.#slots.get(id) ?? size + added.indexOf(id);
      times[slot] = (times[slot] ?? 0) + 1;
    }
    return { ids, times };
  }
}

function enlarged(values: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(values);
  return larger;
}

/**
 * An id that the device chose.
 *
 * @throws GenerationError GENERATION_NOT_FINITE where it could not
 */
export function chosenId(id: number | undefined): number {
  if (id !== undefined && id >= 0) return id;
  const reasons = new Map<number | undefined, string>([
    [noId.allMinusInfinity, "all logits are -Infinity"],
    [noId.infinity, "a logit is Infinity"],
  ]);
  const reason = reasons.get(id) ?? "a logit is NaN";
  throw new GenerationError(
    "GENERATION_NOT_FINITE",
    `cannot choose a token: ${reason}; the model's weights or its computation are broken`,
  );
}

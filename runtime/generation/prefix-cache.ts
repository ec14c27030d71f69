// Keys and values of a sequence that outlive a request: a chat's next prompt begins with what was computed before.
import {
  type DrawRow,
  DrawRows,
  type F32,
  type I32,
  ops,
  type Tensor,
} from "../../kernels/index.ts";
import { type CacheSequence, KvCache } from "../cache/kv-cache.ts";
import { forward, type Model, Step, type StepPart, stepOptions } from "../model/index.ts";
import { Decoder } from "./decoder.ts";

/**
 * Holds the sequence of the last request. A request that begins with the same tokens computes only the others; a row does not see
 * how many rows are computed with it, so its results are the same bits.
 */
export class PrefixCache implements Disposable {
  readonly #growth: number;
  #sequence: Sequence | undefined;

  /** Tokens that the last request did not have to compute. */
  reused = 0;

  /** @param growth  room to reserve, in multiples of what a request needs; memory is only taken up as it is used */
  constructor(growth = 1) {
    this.#growth = growth;
  }

  /**
   * A sequence that holds a beginning of the prompt, all but its last token at most, and has room for the rest.
   *
   * @throws KernelError KERNEL_OUT_OF_MEMORY if the device has no room for it
   */
  sequence(model: Model, prompt: readonly number[], maxNewTokens: number): Sequence {
    const needed = prompt.length + maxNewTokens;
    const last = this.#sequence;
    if (last?.canContinue(model, prompt.length, needed)) {
      last.keepCommon(prompt);
      this.reused = last.length;
      return last;
    }
    last?.[Symbol.dispose]();
    this.reused = 0;
    const room = Math.max(needed, Math.min(this.#growth * needed, model.shape.maxLength));
    this.#sequence = new Sequence(model, prompt.length, room);
    return this.#sequence;
  }

  [Symbol.dispose](): void {
    this.#sequence?.[Symbol.dispose]();
    this.#sequence = undefined;
  }
}

/** A sequence's place in a cache of its own. */
export class Sequence implements Disposable {
  readonly device: Model["device"];
  readonly #model: Model;
  readonly #ropeBase: number;
  readonly #room: number;
  readonly #cache: KvCache;
  readonly #place: CacheSequence;
  readonly #tokens: number[] = [];
  readonly #decoders = new Map<string, Decoder<"f32" | "i32">>();
  /** Of captured steps that draw. */
  #drawRow: DrawRows | undefined;

  constructor(model: Model, promptLength: number, room: number) {
    this.device = model.device;
    this.#model = model;
    this.#room = room;
    this.#ropeBase = model.ropeBase(promptLength);
    this.#cache = new KvCache(model.device, {
      ...model.shape,
      dtype: model.kvCache,
      tokens: room,
    });
    this.#place = this.#cache.open();
  }

  /** Tokens computed. */
  get length(): number {
    return this.#tokens.length;
  }

  /** The rotary base belongs to the prompt's length: with another one, keys computed before are of no use. */
  canContinue(model: Model, promptLength: number, needed: number): boolean {
    const isSameModel = model === this.#model && model.ropeBase(promptLength) === this.#ropeBase;
    return isSameModel && needed <= this.#room;
  }

  /** Forgets all from the first token that the prompt does not have there, and the prompt's last, whose logits are wanted. */
  keepCommon(prompt: readonly number[]): void {
    let common = 0;
    while (common < prompt.length - 1 && this.#tokens[common] === prompt[common]) common += 1;
    this.#tokens.length = Math.min(common, this.#tokens.length);
    this.#cache.truncate(this.#place, this.#tokens.length);
  }

  /** Adds tokens of which no logits are wanted. */
  append(tokens: readonly number[]): void {
    this.#run(tokens)[Symbol.dispose]();
  }

  /**
   * Adds tokens.
   *
   * @param rows  how many of the last tokens logits are wanted after
   * @returns [rows, vocabulary], the caller's to dispose; the next call may overwrite them
   */
  advance(tokens: readonly number[], rows = 1): F32 {
    const finish = (hidden: F32) => this.#model.logits(hidden);
    return this.#advance(tokens, rows, { name: "logits", finish });
  }

  /** The same for the greedy choices: [rows], ids below `limit`, or −1 where a logit is NaN. */
  advanceGreedily(tokens: readonly number[], limit: number, rows = 1): I32 {
    const finish = (hidden: F32) => this.#model.argmax(hidden, limit);
    return this.#advance(tokens, rows, { name: `argmax ${limit}`, finish });
  }

  /** The same for ids that are drawn, or kernels' `noId`: [rows], one for each of the last tokens. */
  advanceDrawing(tokens: readonly number[], limit: number, rows: readonly DrawRow[]): I32 {
    if (rows.length === 1) {
      const capacity = Math.min(this.#room, this.#model.shape.vocabulary);
      this.#drawRow ??= new DrawRows(this.device, 1, capacity);
      return this.#draw(tokens, limit, rows, this.#drawRow);
    }
    const capacity = rows.reduce((sum, { seen }) => sum + (seen?.ids.length ?? 0), 0);
    using several = new DrawRows(this.device, rows.length, capacity);
    return this.#draw(tokens, limit, rows, several);
  }

  #draw(
    tokens: readonly number[],
    limit: number,
    rows: readonly DrawRow[],
    written: DrawRows,
  ): I32 {
    written.write(rows);
    const finish = (hidden: F32) => {
      using logits = this.#model.logits(hidden);
      return ops.sample(logits, limit, written);
    };
    return this.#advance(tokens, rows.length, { name: `drawn ${limit}`, finish });
  }

  /** Takes back the last tokens. */
  retract(count: number): void {
    this.#tokens.length -= count;
    this.#cache.truncate(this.#place, this.#tokens.length);
  }

  /** @param outcome  what is made of the last hidden rows; a step of one token is captured once for each name */
  #advance<T extends "f32" | "i32">(
    tokens: readonly number[],
    rows: number,
    outcome: { readonly name: string; readonly finish: (hidden: F32) => Tensor<T> },
  ): Tensor<T> {
    const { name, finish } = outcome;
    if (tokens.length > 1 || this.#tokens.length === 0) {
      using hidden = this.#run(tokens);
      using last = hidden.narrow(0, tokens.length - rows, rows);
      return finish(last);
    }
    const part = this.#extend(tokens);
    let decoder = this.#decoders.get(name) as Decoder<T> | undefined;
    if (decoder === undefined) {
      const maxBlocks = this.#cache.blocks;
      decoder = new Decoder(this.#model, this.#cache, [part], { maxBlocks, finish });
      this.#decoders.set(name, decoder as Decoder<"f32" | "i32">);
    }
    return decoder.run([part]);
  }

  #extend(tokens: readonly number[]): StepPart {
    const start = this.#place.length;
    this.#cache.extend(this.#place, tokens.length);
    this.#tokens.push(...tokens);
    return { tokens, start, blocks: this.#place.blocks, ropeBase: this.#ropeBase };
  }

  #run(tokens: readonly number[]): F32 {
    const part = this.#extend(tokens);
    using step = new Step(this.device, [part], stepOptions(this.#model));
    return forward(this.#model, step, this.#cache);
  }

  [Symbol.dispose](): void {
    for (const decoder of this.#decoders.values()) decoder[Symbol.dispose]();
    this.#drawRow?.[Symbol.dispose]();
    this.#cache[Symbol.dispose]();
  }
}

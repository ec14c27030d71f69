// One request inside the engine: what it has, what it wants next, and what its reader gets.
import type { PooledSequence } from "../../cache/block-pool.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { createDetokenizer, type Detokenizer } from "../detokenizer.ts";
import { chosenId, Drawing } from "../drawing.ts";
import type { FinishReason } from "../generate-text.ts";
import { createSampler, isPlainGreedy, type Sampler, type SamplingOptions } from "../sampler.ts";
import { createStopMatcher, type StopMatcher, type StopOptions } from "../stop.ts";
import { Delivery } from "./delivery.ts";
import { type TokenLogprobs, tokenLogprobs } from "./logprobs.ts";

/** Narrows what may come next, as a grammar does. */
export interface TokenConstraint extends Disposable {
  /** Bit i % 32 of entry i / 32 is set where id i may come next. */
  mask(): Promise<Int32Array>;
  /** Shows the logits [vocabulary] that are chosen from, for the time of the call. */
  observe?(logits: Float32Array): void;
  /** Tells which id was chosen. */
  accept(id: number): void;
}

export type EngineRequest = {
  /** Token ids; at least one. */
  readonly prompt: ArrayLike<number>;
  readonly maxNewTokens: number;
  readonly sampling: SamplingOptions;
  readonly stop?: StopOptions;
  /** How many of the most likely tokens to tell with each one, 0 for its own probability only; nothing by default. */
  readonly logprobs?: number | undefined;
  readonly constraint?: TokenConstraint | undefined;
  /** Ends the request at once and frees what it holds; its reader gets the signal's reason. */
  readonly signal?: AbortSignal | undefined;
};

export type CompletionDelta = {
  /** May be "" while a character or a possible stop is incomplete. */
  readonly text: string;
  /** The token it came with; undefined where the end only brings what was held back. */
  readonly id: number | undefined;
  /** Where the request asked for them; tokens of a stop have none. */
  readonly logprobs: TokenLogprobs | undefined;
  /** Tokens generated so far, those of a stop included. */
  readonly tokens: number;
  /** Set on the last delta, which always comes. */
  readonly finish: FinishReason | undefined;
};

export class Request {
  readonly history: number[];
  readonly promptLength: number;
  readonly maxNewTokens: number;
  readonly signal: AbortSignal | undefined;
  readonly delivery: Delivery<CompletionDelta> = new Delivery();
  /** Whether a step's greedy choice is enough. */
  readonly isGreedy: boolean;
  /** Whether it has to see logits; otherwise the device draws. */
  readonly needsLogits: boolean;
  readonly drawing: Drawing;
  /** Its place in the cache, once it runs. */
  sequence: PooledSequence | undefined;
  ropeBase = 0;
  /** Tokens of the prompt that were computed for others before. */
  reused = 0;
  isOver = false;
  readonly #sampler: Sampler;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopMatcher;
  readonly constraint: TokenConstraint | undefined;
  readonly #logprobs: number | undefined;
  readonly #allowed: number;
  #onRelease: (() => void) | undefined;

  constructor(request: EngineRequest, tokenizer: Tokenizer, allowed: number) {
    this.history = Array.from(request.prompt);
    this.promptLength = this.history.length;
    this.maxNewTokens = request.maxNewTokens;
    this.signal = request.signal;
    this.needsLogits = request.logprobs !== undefined || request.constraint !== undefined;
    this.isGreedy = isPlainGreedy(request.sampling) && !this.needsLogits;
    const drawing = new Drawing(request.sampling, this.promptLength);
    this.drawing = drawing;
    this.#sampler = createSampler(request.sampling, this.promptLength, () => drawing.takeUniform());
    this.#detokenizer = createDetokenizer(tokenizer);
    this.#stops = createStopMatcher(request.stop ?? {});
    this.constraint = request.constraint;
    this.#logprobs = request.logprobs;
    this.#allowed = allowed;
  }

  /** Tokens it may come to have. */
  get room(): number {
    return this.promptLength + this.maxNewTokens;
  }

  get generated(): number {
    return this.history.length - this.promptLength;
  }

  /** Tokens that are not computed yet: of the prompt, or the last that was chosen. */
  get pending(): number {
    return this.history.length - (this.sequence?.length ?? 0);
  }

  /**
   * Chooses from logits [vocabulary].
   *
   * @param mask  the constraint's, if there is one
   * @throws GenerationError GENERATION_NOT_FINITE
   */
  choose(logits: Float32Array, mask: Int32Array | undefined): void {
    this.constraint?.observe?.(logits);
    const id = this.#sampler.sample(logits, this.history, this.#allowed, mask);
    const probabilities =
      this.#logprobs === undefined
        ? undefined
        : tokenLogprobs(logits.subarray(0, this.#allowed), id, this.#logprobs);
    this.accept(id, probabilities);
  }

  /**
   * Takes what the device chose.
   *
   * @throws GenerationError GENERATION_NOT_FINITE
   */
  take(id: number | undefined): void {
    this.drawing.takeUniform();
    this.accept(chosenId(id));
  }

  /** Takes the next token; may end the request. */
  accept(id: number, logprobs?: TokenLogprobs): void {
    this.history.push(id);
    this.constraint?.accept(id);
    const tokens = this.generated;
    const { text, stop } = this.#stops.push(id, this.#detokenizer.push(id));
    if (stop !== null) {
      this.#push({ text, id, logprobs: undefined, tokens, finish: "stop" });
    } else if (tokens === this.maxNewTokens) {
      const last = this.#stops.finish(this.#detokenizer.flush());
      const finish = last.stop === null ? "length" : "stop";
      this.#push({ text: text + last.text, id, logprobs, tokens, finish });
    } else {
      this.#push({ text, id, logprobs, tokens, finish: undefined });
    }
  }

  #push(delta: CompletionDelta): void {
    this.delivery.push(delta);
    if (delta.finish === undefined) return;
    this.isOver = true;
    this.delivery.end();
  }

  fail(error: unknown): void {
    this.isOver = true;
    this.delivery.fail(error);
  }

  /** Calls `callback` when the request holds nothing any more. */
  onRelease(callback: () => void): void {
    this.#onRelease = callback;
  }

  /** Gives its place in the cache back. */
  release(): void {
    this.#onRelease?.();
    this.#onRelease = undefined;
    this.sequence?.[Symbol.dispose]();
    this.sequence = undefined;
    this.constraint?.[Symbol.dispose]();
  }
}

// One loop for all requests: they join and leave between steps (Yu et al., "Orca", OSDI 2022), and prompts are computed in
// chunks beside the tokens of others (Agrawal et al., "Sarathi", arXiv:2308.16369).
import { BlockPool } from "../../cache/block-pool.ts";
import { KvCache } from "../../cache/kv-cache.ts";
import type { Model } from "../../model/index.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { GenerationError } from "../errors.ts";
import { checkRequest } from "../generate.ts";
import { blockSize, hasIdleRows } from "./cache-room.ts";
import { type Mask, masksOf } from "./masks.ts";
import { type PlanLimits, planStep, type Share } from "./plan.ts";
import { type CompletionDelta, type EngineRequest, Request } from "./request.ts";
import { type StepOutcome, type StepResult, StepRunner } from "./step-runner.ts";

export type EngineOptions = {
  /** Tokens of all requests together, prompts and answers; the block of idle rows comes on top. */
  readonly cacheTokens: number;
  /** Requests computed together; others wait their turn. */
  readonly maxRunning?: number;
  /** Requests that may wait; more are refused. */
  readonly maxWaiting?: number;
  /** Whether what requests have in common is computed once; true by default. */
  readonly sharesPrefixes?: boolean;
} & Partial<PlanLimits>;

const defaults = { maxRunning: 64, maxWaiting: 256, chunkRows: 512, sharedChunkRows: 32 };

/** A request's answer, as it comes. It can be read once; not reading to the end cancels the request. */
export type Completion = AsyncIterable<CompletionDelta> & {
  readonly promptTokens: number;
  /** Tokens of the prompt that did not have to be computed; known once the first delta is there. */
  readonly reusedTokens: number;
  cancel(): void;
};

/** What an engine does at present, and did since it started. */
export type EngineStats = {
  readonly running: number;
  readonly waiting: number;
  /** Those that requests can have. `size` is in tokens; `idle` blocks are kept for requests that begin alike. */
  readonly cacheBlocks: {
    readonly size: number;
    readonly total: number;
    readonly used: number;
    readonly idle: number;
  };
  readonly steps: number;
  /** Computed, those reused not counted. */
  readonly promptTokens: number;
  readonly reusedTokens: number;
  readonly generatedTokens: number;
};

/**
 * Runs requests together, on one model. A row does not see its neighbours, so what a request gets does not depend on who runs
 * beside it. On an accelerator steps of new tokens come in a few sizes, filled up with idle rows (idle-rows.ts), so that captured
 * ones serve all batches.
 */
export class Engine implements AsyncDisposable {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly #options: Required<Omit<EngineOptions, "cacheTokens">>;
  readonly #cache: KvCache;
  readonly #pool: BlockPool;
  readonly #runner: StepRunner;
  readonly #allowed: number;
  readonly #waiting: Request[] = [];
  #running: Request[] = [];
  #loop: Promise<void> | undefined;
  #failure: unknown;
  #isClosed = false;
  readonly #counts = { steps: 0, promptTokens: 0, reusedTokens: 0, generatedTokens: 0 };

  /** @throws KernelError KERNEL_OUT_OF_MEMORY if the device has no room for the cache */
  constructor(model: Model, tokenizer: Tokenizer, { cacheTokens, ...options }: EngineOptions) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.#options = { ...defaults, sharesPrefixes: true, ...options };
    this.#allowed = Math.min(tokenizer.vocabularySize, model.shape.vocabulary);
    const dtype = model.kvCache;
    this.#cache = new KvCache(model.device, {
      ...model.shape,
      dtype,
      tokens: cacheTokens,
      blockSize,
      hasIdleBlock: hasIdleRows(model.device),
    });
    this.#pool = new BlockPool({
      blocks: this.#cache.blocks,
      blockSize,
      shares: this.#options.sharesPrefixes,
    });
    const maxBlocks = Math.min(this.#cache.blocks, Math.ceil(model.shape.maxLength / blockSize));
    const allowed = this.#allowed;
    const { maxRunning } = this.#options;
    const limits = { maxBlocks, blockSize, allowed, maxRunning };
    this.#runner = new StepRunner(model, this.#cache, limits);
  }

  /** Tokens of the longest request, prompt and answer together. */
  get maxLength(): number {
    return Math.min(this.model.shape.maxLength, this.#pool.capacity);
  }

  get stats(): EngineStats {
    const { blocks: total, used, idle } = this.#pool;
    return {
      running: this.#running.length,
      waiting: this.#waiting.length,
      cacheBlocks: { size: blockSize, total, used, idle },
      ...this.#counts,
    };
  }

  /** Why it cannot go on: a fault of the device, or undefined. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * Takes a request in; it runs when there is room.
   *
   * @throws GenerationError GENERATION_PROMPT, GENERATION_OPTION; GENERATION_LENGTH if it can never fit; GENERATION_BUSY if too
   *   many wait; GENERATION_CLOSED if the engine ended or failed
   */
  submit(request: EngineRequest): Completion {
    this.#check(request);
    const entry = new Request(request, this.tokenizer, this.#allowed);
    const { signal } = entry;
    if (signal?.aborted) entry.fail(signal.reason);
    else {
      const cancel = () => this.#cancel(entry, signal?.reason);
      signal?.addEventListener("abort", cancel, { once: true });
      entry.onRelease(() => signal?.removeEventListener("abort", cancel));
      this.#waiting.push(entry);
      this.#wake();
    }
    return this.#completion(entry);
  }

  #check(request: EngineRequest): void {
    if (this.#isClosed || this.#failure !== undefined) {
      throw new GenerationError("GENERATION_CLOSED", "the engine has ended and takes no requests", {
        cause: this.#failure,
      });
    }
    checkRequest(this.model, { ...request, allowed: this.#allowed });
    const needed = request.prompt.length + request.maxNewTokens;
    if (needed > this.#pool.capacity) {
      throw new GenerationError(
        "GENERATION_LENGTH",
        `a prompt of ${request.prompt.length} tokens and ${request.maxNewTokens} new ones never fit the key/value cache, ` +
          `which holds ${this.#pool.capacity} tokens; ask for fewer or give the cache more memory`,
      );
    }
    if (this.#waiting.length >= this.#options.maxWaiting) {
      throw new GenerationError(
        "GENERATION_BUSY",
        `${this.#waiting.length} requests are waiting already; try again later`,
      );
    }
  }

  #completion(entry: Request): Completion {
    const cancel = () => this.#cancel(entry, new DOMException("cancelled", "AbortError"));
    return {
      promptTokens: entry.promptLength,
      get reusedTokens() {
        return entry.reused;
      },
      cancel,
      async *[Symbol.asyncIterator]() {
        try {
          yield* entry.delivery.read();
        } finally {
          cancel();
        }
      },
    };
  }

  /** Frees what it holds in the same turn; what a step under way computes for it is not looked at. */
  #cancel(entry: Request, reason: unknown): void {
    if (entry.isOver) return;
    entry.fail(reason);
    entry.release();
    const at = this.#waiting.indexOf(entry);
    if (at >= 0) this.#waiting.splice(at, 1);
    this.#running = this.#running.filter((other) => other !== entry);
  }

  #wake(): void {
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
      if (this.#waiting.length > 0 && this.#failure === undefined) this.#wake();
    });
  }

  async #run(): Promise<void> {
    try {
      // Requests of the same turn start together.
      await undefined;
      for (;;) {
        this.#admit();
        const shares = planStep(this.#running, this.#options);
        if (shares.length === 0) return;
        await this.#step(shares);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** In the order in which they came, so that a large one gets its turn. */
  #admit(): void {
    while (this.#running.length < this.#options.maxRunning) {
      const [entry] = this.#waiting;
      if (entry === undefined) return;
      const ropeBase = this.model.ropeBase(entry.promptLength);
      const sequence = this.#pool.open(entry.history, ropeBase, entry.room);
      if (sequence === undefined) return;
      this.#waiting.shift();
      entry.ropeBase = ropeBase;
      entry.sequence = sequence;
      entry.reused = sequence.length;
      this.#counts.reusedTokens += sequence.length;
      this.#running.push(entry);
    }
  }

  async #step(shares: readonly Share[]): Promise<void> {
    const parts = shares.map(({ request, count }) => this.#extend(request, count));
    const wanted = shares.filter((_, i) => parts[i]?.isWanted).map(({ request }) => request);
    this.#counts.steps += 1;
    const result = await this.#runner.run(parts, outcomeFor(wanted));
    if (result === undefined) return;
    const masks = await masksOf(wanted);
    for (const [row, request] of wanted.entries()) {
      if (!request.isOver) this.#deliver(request, result, row, masks.get(request));
    }
    this.#running = this.#running.filter(({ isOver }) => !isOver);
  }

  #extend(request: Request, count: number) {
    const { sequence, history, ropeBase } = request;
    if (sequence === undefined) throw new RangeError("a request runs without a place in the cache");
    const start = sequence.length;
    const tokens = history.slice(start, start + count);
    sequence.extend(tokens);
    if (request.generated === 0) this.#counts.promptTokens += count;
    return { tokens, start, blocks: sequence.blocks, ropeBase, isWanted: request.pending === 0 };
  }

  /** Whatever goes wrong with one request ends that one only. */
  #deliver(request: Request, result: StepResult, row: number, mask?: Mask): void {
    try {
      if (mask?.status === "rejected") throw mask.reason;
      if (result.kind === "ids") request.take(result.ids[row]);
      else {
        const { logits, width } = result;
        request.choose(logits.subarray(row * width, (row + 1) * width), mask?.value);
      }
      this.#counts.generatedTokens += 1;
    } catch (error) {
      request.fail(error);
    }
    if (request.isOver) request.release();
  }

  /** A fault of the device ends everything: nothing computed after it can be trusted. */
  #fail(error: unknown): void {
    this.#failure = error;
    for (const entry of [...this.#running, ...this.#waiting]) {
      entry.fail(error);
      entry.release();
    }
    this.#running = [];
    this.#waiting.length = 0;
  }

  /** Cancels what runs or waits and gives the memory back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const reason = new GenerationError("GENERATION_CLOSED", "the engine has ended");
    for (const entry of [...this.#running, ...this.#waiting]) this.#cancel(entry, reason);
    await this.#loop;
    this.#runner[Symbol.dispose]();
    this.#cache[Symbol.dispose]();
  }
}

/** The least that all of these need. */
function outcomeFor(wanted: readonly Request[]): StepOutcome {
  if (wanted.every(({ isGreedy }) => isGreedy)) return { kind: "greedy" };
  if (wanted.some(({ needsLogits }) => needsLogits)) return { kind: "logits" };
  return { kind: "drawn", rows: wanted.flatMap(({ drawing, history }) => drawing.rows(history)) };
}

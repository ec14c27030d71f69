// A step of the engine on the device: rows of any sequences in, a choice or logits for some of them out.
import { type DrawRow, DrawRows, type F32, ops, type Tensor } from "../../../kernels/index.ts";
import type { KvCache } from "../../cache/kv-cache.ts";
import { forward, type Model, Step, type StepPart, stepOptions } from "../../model/index.ts";
import { Decoder } from "../decoder.ts";
import { bucketOf, IdleRows } from "./idle-rows.ts";

/** Tokens of one sequence, and whether what follows the last of them is wanted. */
export type RowsOfSequence = StepPart & { readonly isWanted: boolean };

/** What came of the wanted parts, in their order. */
export type StepResult =
  | {
      readonly kind: "ids";
      /** The choice of each, or kernels' `noId`. */
      readonly ids: Int32Array;
    }
  | {
      readonly kind: "logits";
      /** [wanted, width] */
      readonly logits: Float32Array;
      readonly width: number;
    };

/** What is made of the wanted parts' last rows. */
export type StepOutcome =
  | { readonly kind: "greedy" | "logits" }
  | { readonly kind: "drawn"; readonly rows: readonly DrawRow[] };

/** A captured step, and what it draws with. */
type Captured = {
  readonly decoder: Decoder<"f32" | "i32">;
  readonly rows: DrawRows | undefined;
  readonly size: number;
};

/** Captured steps that are kept: each holds the memory of its results and of what is computed on the way there. */
const maxDecoders = 4;

export type StepRunnerOptions = {
  /** Cache blocks that a sequence may come to have */
  readonly maxBlocks: number;
  readonly blockSize: number;
  /** Ids from here on are never chosen. */
  readonly allowed: number;
  /** Sequences computed together */
  readonly maxRunning: number;
};

export class StepRunner implements Disposable {
  readonly #model: Model;
  readonly #cache: KvCache;
  readonly #maxBlocks: number;
  /** Ids that a sequence may come to have seen */
  readonly #maxSeen: number;
  readonly #allowed: number;
  /** The last used stands last. */
  readonly #captured = new Map<string, Captured>();
  /** Where the cache has a block for them */
  readonly #idle: IdleRows | undefined;
  /**
   * Rows of captured steps that are kept where there are idle rows: as many as four full steps have. For 64 sequences that is 256, room
   * for all nine sizes of one outcome (199) and for another's up to 24 (55).
   */
  readonly #maxRows: number;
  /** Whether the model's blocks have run, which loads them. */
  #isLoaded = false;
  #last = "";

  /** @param cache  with an idle block, decoding steps are filled up to the size of `bucketOf` */
  constructor(model: Model, cache: KvCache, options: StepRunnerOptions) {
    this.#model = model;
    this.#cache = cache;
    this.#maxBlocks = options.maxBlocks;
    this.#maxSeen = Math.min(options.maxBlocks * options.blockSize, model.shape.vocabulary);
    this.#allowed = options.allowed;
    const { idleBlock } = cache;
    this.#idle = idleBlock === undefined ? undefined : new IdleRows(model, idleBlock);
    this.#maxRows = maxDecoders * bucketOf(options.maxRunning);
  }

  /** Enqueues a step at once; the promise is of its result, undefined where no part wants one. */
  run(parts: readonly RowsOfSequence[], outcome: StepOutcome): Promise<StepResult | undefined> {
    const size = this.#idle === undefined ? parts.length : bucketOf(parts.length);
    const name = `${size} ${outcome.kind}`;
    const isDecoding = parts.every(({ tokens, isWanted }) => tokens.length === 1 && isWanted);
    if (isDecoding && (this.#captured.has(name) || this.#isWorthCapturing(name))) {
      return this.#runCaptured(name, parts, outcome, size);
    }
    this.#last = isDecoding ? name : "";
    this.#isLoaded = true;
    return this.#runOnce(parts, outcome);
  }

  /** A batch's own size may not come again, one of a few sizes will. */
  #isWorthCapturing(name: string): boolean {
    return this.#idle === undefined ? this.#last === name : this.#isLoaded;
  }

  #runCaptured(
    name: string,
    given: readonly StepPart[],
    outcome: StepOutcome,
    size: number,
  ): Promise<StepResult> {
    const parts = this.#idle?.parts(given, size) ?? given;
    const { decoder, rows } = this.#capture(name, parts, outcome.kind);
    if (outcome.kind === "drawn") {
      rows?.write(this.#idle?.draws(outcome.rows, size) ?? outcome.rows);
    }
    using result = decoder.run(parts);
    return read(result.narrow(0, 0, given.length));
  }

  #capture(name: string, parts: readonly StepPart[], kind: StepOutcome["kind"]): Captured {
    const found = this.#captured.get(name);
    const captured = found ?? this.#captureAnew(parts, kind);
    this.#captured.delete(name);
    this.#captured.set(name, captured);
    for (const [oldest, each] of this.#captured) {
      if (!this.#keepsTooMuch()) break;
      dispose(each);
      this.#captured.delete(oldest);
    }
    return captured;
  }

  #keepsTooMuch(): boolean {
    if (this.#idle === undefined) return this.#captured.size > maxDecoders;
    const rows = [...this.#captured.values()].reduce((sum, { size }) => sum + size, 0);
    return rows > this.#maxRows;
  }

  #captureAnew(parts: readonly StepPart[], kind: StepOutcome["kind"]): Captured {
    const { device } = this.#model;
    const rows =
      kind === "drawn"
        ? new DrawRows(device, parts.length, parts.length * this.#maxSeen)
        : undefined;
    const options = {
      maxBlocks: this.#maxBlocks,
      finish: (hidden: F32) => this.#finish(hidden, kind, rows),
    };
    const decoder = new Decoder(this.#model, this.#cache, parts, options);
    return { decoder, rows, size: parts.length };
  }

  #finish(
    hidden: F32,
    kind: StepOutcome["kind"],
    rows: DrawRows | undefined,
  ): Tensor<"f32" | "i32"> {
    if (kind === "greedy") return this.#model.argmax(hidden, this.#allowed);
    if (rows === undefined) return this.#model.logits(hidden);
    using logits = this.#model.logits(hidden);
    return ops.sample(logits, this.#allowed, rows);
  }

  async #runOnce(
    parts: readonly RowsOfSequence[],
    outcome: StepOutcome,
  ): Promise<StepResult | undefined> {
    const model = this.#model;
    using drawn = this.#drawRows(outcome);
    using step = new Step(model.device, parts, stepOptions(model));
    using hidden = forward(model, step, this.#cache);
    const rows = wantedRows(parts);
    if (rows.length === 0) {
      // Without a wait, a long prompt would be enqueued whole before anything else gets a turn.
      await model.device.sync();
      return undefined;
    }
    if (rows.length === step.rows) return await read(this.#finish(hidden, outcome.kind, drawn));
    using index = model.device.from("i32", rows);
    using wanted = ops.gatherRows(hidden, index);
    return await read(this.#finish(wanted, outcome.kind, drawn));
  }

  #drawRows(outcome: StepOutcome): DrawRows | undefined {
    if (outcome.kind !== "drawn") return undefined;
    const seen = outcome.rows.reduce((sum, row) => sum + (row.seen?.ids.length ?? 0), 0);
    const rows = new DrawRows(this.#model.device, outcome.rows.length, seen);
    rows.write(outcome.rows);
    return rows;
  }

  [Symbol.dispose](): void {
    for (const captured of this.#captured.values()) dispose(captured);
  }
}

function dispose({ decoder, rows }: Captured): void {
  decoder[Symbol.dispose]();
  rows?.[Symbol.dispose]();
}

/** The last row of each wanted part. */
function wantedRows(parts: readonly RowsOfSequence[]): Int32Array<ArrayBuffer> {
  const rows: number[] = [];
  let end = 0;
  for (const { tokens, isWanted } of parts) {
    end += tokens.length;
    if (isWanted) rows.push(end - 1);
  }
  return Int32Array.from(rows);
}

async function read(result: Tensor<"f32" | "i32">): Promise<StepResult> {
  using tensor = result;
  const values = await tensor.read();
  return values instanceof Int32Array
    ? { kind: "ids", ids: values }
    : { kind: "logits", logits: values as Float32Array, width: tensor.size(1) };
}

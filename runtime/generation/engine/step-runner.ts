// A step of the engine on the device: rows of any sequences in, a choice or logits for some of them out.
import type { F32, Tensor } from "../../../kernels/index.ts";
import { ops } from "../../../kernels/index.ts";
import type { KvCache } from "../../cache/kv-cache.ts";
import { forward, type Model, Step, type StepPart, stepOptions } from "../../model/index.ts";
import { Decoder } from "../decoder.ts";

/** Tokens of one sequence, and whether what follows the last of them is wanted. */
export type RowsOfSequence = StepPart & { readonly isWanted: boolean };

/** What came of the wanted parts, in their order. */
export type StepResult =
  | {
      readonly kind: "ids";
      /** The greedy choice of each, or −1 where a logit is NaN. */
      readonly ids: Int32Array;
    }
  | {
      readonly kind: "logits";
      /** [wanted, width] */
      readonly logits: Float32Array;
      readonly width: number;
    };

export type StepKind = StepResult["kind"];

/** Captured steps that are kept: each holds the memory of its results. */
const maxDecoders = 4;

export class StepRunner implements Disposable {
  readonly #model: Model;
  readonly #cache: KvCache;
  readonly #maxBlocks: number;
  readonly #allowed: number;
  readonly #decoders = new Map<string, Decoder<"f32" | "i32">>();
  #last = "";

  /** @param options.allowed  ids from here on are never chosen */
  constructor(
    model: Model,
    cache: KvCache,
    options: { readonly maxBlocks: number; readonly allowed: number },
  ) {
    this.#model = model;
    this.#cache = cache;
    this.#maxBlocks = options.maxBlocks;
    this.#allowed = options.allowed;
  }

  /** Enqueues a step at once; the promise is of its result, undefined where no part wants one. */
  run(parts: readonly RowsOfSequence[], kind: StepKind): Promise<StepResult | undefined> {
    const finish = (hidden: F32): Tensor<"f32" | "i32"> =>
      kind === "ids" ? this.#model.argmax(hidden, this.#allowed) : this.#model.logits(hidden);
    const name = `${parts.length} ${kind}`;
    const isDecoding = parts.every(({ tokens, isWanted }) => tokens.length === 1 && isWanted);
    // A batch's size that does not come again is not worth capturing.
    if (isDecoding && (this.#decoders.has(name) || this.#last === name)) {
      return read(this.#decoder(name, parts, finish).run(parts));
    }
    this.#last = isDecoding ? name : "";
    return this.#runOnce(parts, finish);
  }

  #decoder(
    name: string,
    parts: readonly StepPart[],
    finish: (hidden: F32) => Tensor<"f32" | "i32">,
  ): Decoder<"f32" | "i32"> {
    const found = this.#decoders.get(name);
    const decoder =
      found ?? new Decoder(this.#model, this.#cache, parts, { maxBlocks: this.#maxBlocks, finish });
    // The last used stands last.
    this.#decoders.delete(name);
    this.#decoders.set(name, decoder);
    const [oldest] = this.#decoders;
    if (this.#decoders.size > maxDecoders && oldest !== undefined) {
      oldest[1][Symbol.dispose]();
      this.#decoders.delete(oldest[0]);
    }
    return decoder;
  }

  async #runOnce(
    parts: readonly RowsOfSequence[],
    finish: (hidden: F32) => Tensor<"f32" | "i32">,
  ): Promise<StepResult | undefined> {
    const model = this.#model;
    using step = new Step(model.device, parts, stepOptions(model));
    using hidden = forward(model, step, this.#cache);
    const rows = wantedRows(parts);
    if (rows.length === 0) {
      // Without a wait, a long prompt would be enqueued whole before anything else gets a turn.
      await model.device.sync();
      return undefined;
    }
    if (rows.length === step.rows) return await read(finish(hidden));
    using index = model.device.from("i32", rows);
    using wanted = ops.gatherRows(hidden, index);
    return await read(finish(wanted));
  }

  [Symbol.dispose](): void {
    for (const decoder of this.#decoders.values()) decoder[Symbol.dispose]();
  }
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

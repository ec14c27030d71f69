import type { Device } from "../device.ts";
import { call } from "../native.ts";
import type { Tensor } from "../tensor.ts";
import type { F32, I32 } from "./types.ts";

/** How an id is drawn, in the order in which it applies. */
export type DrawOptions = {
  /** Divides (or multiplies, below 0) the logits of ids seen; 1 is off. */
  readonly repetitionPenalty: number;
  /** Is taken from the logits of ids generated; 0 is off. */
  readonly presencePenalty: number;
  /** Is taken from the logits of ids generated, once for each time; 0 is off. */
  readonly frequencyPenalty: number;
  /** 0 chooses the most likely id. */
  readonly temperature: number;
  /** Number of most likely ids to draw from; 0 is off, 1 is greedy. */
  readonly topK: number;
  /** Probability mass to draw from, 0 … 1; 1 is off. */
  readonly topP: number;
  /** Least probability to draw from, as a share of the most likely id's, 0 … 1; 0 is off. */
  readonly minP: number;
};

/** Ids, each once, and how often each was generated: 0 for one that was only given. */
export type SeenIds = {
  readonly ids: Int32Array;
  readonly times: Int32Array;
};

export type DrawRow = {
  readonly options: DrawOptions;
  /** The random number, in [0, 1). */
  readonly uniform: number;
  /** What penalties apply to. */
  readonly seen?: SeenIds | undefined;
};

/** In the place of an id, where none can be drawn. */
export const noId = { nan: -1, allMinusInfinity: -2, infinity: -3 } as const;

const noneSeen: SeenIds = { ids: new Int32Array(0), times: new Int32Array(0) };

/** What rows of logits are drawn with, in tensors, so that captured operations can be given other rows. */
export class DrawRows implements Disposable {
  readonly options: Tensor<"i64">;
  readonly seenBegin: I32;
  readonly seenIds: I32;
  readonly seenTimes: I32;

  /** @param capacity  of the ids seen by all rows together */
  constructor(device: Device, rows: number, capacity: number) {
    this.options = device.empty("i64", [rows, 8]);
    this.seenBegin = device.empty("i32", [rows + 1]);
    this.seenIds = device.empty("i32", [capacity]);
    this.seenTimes = device.empty("i32", [capacity]);
  }

  /**
   * @param rows  as many as there is room for
   * @throws KernelError if they have seen more ids than there is room for
   */
  write(rows: readonly DrawRow[]): void {
    const seen = rows.map((row) => row.seen ?? noneSeen);
    const begin = new Int32Array(rows.length + 1);
    for (const [row, { ids }] of seen.entries()) begin[row + 1] = (begin[row] ?? 0) + ids.length;
    writeAll(
      this.seenIds,
      seen.map(({ ids }) => ids),
    );
    writeAll(
      this.seenTimes,
      seen.map(({ times }) => times),
    );
    this.seenBegin.write(begin);
    this.options.write(new BigInt64Array(optionsOf(rows).buffer));
  }

  [Symbol.dispose](): void {
    for (const tensor of [this.options, this.seenBegin, this.seenIds, this.seenTimes]) {
      tensor[Symbol.dispose]();
    }
  }
}

/** Writes parts one after another from the beginning. */
function writeAll(tensor: I32, parts: readonly Int32Array[]): void {
  const values = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  if (values.length === 0) return;
  let end = 0;
  for (const part of parts) {
    values.set(part, end);
    end += part.length;
  }
  using view = tensor.narrow(0, 0, end);
  view.write(values);
}

/** As SamplingOptions of src/ops/sampling/sampling.h has them. */
function optionsOf(rows: readonly DrawRow[]): Float64Array<ArrayBuffer> {
  return Float64Array.from(
    rows.flatMap(({ options, uniform }) => [
      ...[options.temperature, options.topK, options.topP, options.minP],
      ...[options.repetitionPenalty, options.presencePenalty, options.frequencyPenalty],
      uniform,
    ]),
  );
}

/**
 * [rows]: an id below `limit` for each row of logits [rows, width], drawn as transformers does: penalties, temperature, top-k,
 * top-p, min-p; or one of `noId`, where a logit below `limit` is NaN or infinite, or all are −infinity.
 */
export function sample(logits: F32, limit: number, rows: DrawRows): I32 {
  const { device } = logits;
  const y = device.empty("i32", [logits.size(0)]);
  const seen = [rows.seenBegin.handle, rows.seenIds.handle, rows.seenTimes.handle] as const;
  call((addon) =>
    addon.sample(device.handle, logits.handle, limit, rows.options.handle, ...seen, y.handle),
  );
  return y;
}

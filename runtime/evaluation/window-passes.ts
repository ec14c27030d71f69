// Windows through a model, block by block: one block's weights are in use at a time (on a GPU the next one is on its way), so a
// model need not fit in memory.
import { type Device, type F32, ops } from "../../kernels/index.ts";
import { KvCache } from "../cache/kv-cache.ts";
import {
  type Model,
  runBlock,
  Step,
  type StepPart,
  stepOptions,
  walkBlocks,
} from "../model/index.ts";
import type { Window } from "./windows.ts";

/** Rows computed together, and those of their tokens whose prediction counts. */
export type Pass = {
  readonly pieces: readonly Piece[];
  /** Rows whose next token is scored. */
  readonly scoredRows: Int32Array<ArrayBuffer>;
  /** Those next tokens. */
  readonly targets: Int32Array<ArrayBuffer>;
};

/** Consecutive tokens of one window. */
type Piece = { readonly window: Window; readonly start: number; readonly end: number };

const cacheBlock = 64;

/**
 * Groups windows into passes of at most `batchRows` rows. A longer window is cut into several passes that follow one
 * another.
 */
export function planPasses(windows: readonly Window[], batchRows: number): readonly Pass[] {
  const passes: Piece[][] = [];
  let room = 0;
  for (const window of windows) {
    const { length } = window.tokens;
    if (length <= room) {
      passes.at(-1)?.push({ window, start: 0, end: length });
      room -= length;
      continue;
    }
    for (let start = 0; start < length; start += batchRows) {
      passes.push([{ window, start, end: Math.min(length, start + batchRows) }]);
    }
    // The cache is laid out for one long window, or for several short ones.
    room = length <= batchRows ? batchRows - length : 0;
  }
  return passes.map(toPass);
}

function toPass(pieces: readonly Piece[]): Pass {
  const rows: number[] = [];
  const targets: number[] = [];
  let offset = 0;
  for (const { window, start, end } of pieces) {
    const { tokens, firstScored } = window;
    const last = Math.min(end, tokens.length - 1);
    for (let position = Math.max(start, firstScored - 1); position < last; position++) {
      rows.push(offset + position - start);
      targets.push(tokens[position + 1] ?? 0);
    }
    offset += end - start;
  }
  return { pieces, scoredRows: Int32Array.from(rows), targets: Int32Array.from(targets) };
}

/**
 * The residual stream after the last block, of the rows that are scored.
 *
 * @param onRows  told how many rows went through a block
 * @returns [scored rows of the pass, width] for each pass, for the caller to dispose; undefined where nothing is scored
 * @throws KernelError; the signal's reason when aborted
 */
export async function runPasses(
  model: Model,
  passes: readonly Pass[],
  { signal, onRows }: { readonly signal?: AbortSignal | undefined; onRows?(rows: number): void },
): Promise<readonly (F32 | undefined)[]> {
  // Nothing is decoded afterwards, so one layer's room serves all layers, and one group of passes after the other.
  using cache = new KvCache(model.device, {
    ...{ ...model.shape, layers: 1, blockSize: cacheBlock, dtype: model.kvCache },
    tokens: Math.max(...passes.map(({ pieces }) => cacheRoom(pieces))),
  });
  using steps = new Steps(model, passes, cache);
  using hidden = new Tensors(steps.all.map((step) => model.embed(step)));
  model.evict("transformer.wte.");
  for (const [layer, block] of walkBlocks(model)) {
    signal?.throwIfAborted();
    for (const [i, step] of steps.all.entries()) {
      const before = hidden.take(i);
      if (before === undefined) continue;
      hidden.put(i, runBlock(block, before, { step, cache: cache.layer(layer) }));
    }
    model.evict(`${block.name}.`);
    await model.device.sync();
    onRows?.(steps.all.reduce((sum, step) => sum + step.rows, 0));
  }
  return passes.map(({ scoredRows }, i) => {
    using all = hidden.take(i);
    return all === undefined ? undefined : gather(model.device, all, scoredRows);
  });
}

function gather(device: Device, hidden: F32, rows: Int32Array<ArrayBuffer>): F32 | undefined {
  if (rows.length === 0) return undefined;
  using index = device.from("i32", rows);
  return ops.gatherRows(hidden, index);
}

/** Positions in whole blocks: those of a window count in full from its first piece on. */
function cacheRoom(pieces: readonly Piece[]): number {
  return pieces.reduce(
    (sum, { window }) => sum + Math.ceil(window.tokens.length / cacheBlock) * cacheBlock,
    0,
  );
}

/** One step per pass. Passes of one window have the same place in the cache; all others may have any. */
class Steps implements Disposable {
  readonly all: Step[] = [];

  constructor(model: Model, passes: readonly Pass[], cache: KvCache) {
    const { device } = model;
    let places: readonly (readonly number[])[] = [];
    for (const { pieces } of passes) {
      if (pieces[0]?.start === 0) places = placesIn(cache, pieces);
      const parts = pieces.map(({ window, start, end }, i): StepPart => {
        const ropeBase = model.ropeBase(window.tokens.length);
        return {
          ...{ tokens: window.tokens.subarray(start, end), start, ropeBase },
          blocks: places[i] ?? [],
        };
      });
      this.all.push(new Step(device, parts, stepOptions(model)));
    }
  }

  [Symbol.dispose](): void {
    for (const step of this.all) step[Symbol.dispose]();
  }
}

/** Cache blocks for each piece's window, which others get again. */
function placesIn(cache: KvCache, pieces: readonly Piece[]): readonly (readonly number[])[] {
  const sequences = pieces.map(({ window }) => {
    const sequence = cache.open();
    cache.extend(sequence, window.tokens.length);
    return sequence;
  });
  const places = sequences.map(({ blocks }) => [...blocks]);
  for (const sequence of sequences) cache.close(sequence);
  return places;
}

/** Tensors that come and go; what is left is disposed. */
class Tensors implements Disposable {
  readonly #tensors: (F32 | undefined)[];

  constructor(tensors: readonly F32[]) {
    this.#tensors = [...tensors];
  }

  take(index: number): F32 | undefined {
    const tensor = this.#tensors[index];
    this.#tensors[index] = undefined;
    return tensor;
  }

  put(index: number, tensor: F32): void {
    this.#tensors[index] = tensor;
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#tensors) tensor?.[Symbol.dispose]();
  }
}

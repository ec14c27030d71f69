import {
  type CacheLayer,
  type CacheTensor,
  type Device,
  KernelError,
} from "../../kernels/index.ts";

/** What keys and values are kept as. Half the bytes cost rounding by 2⁻¹², and fail beyond 65504. */
export type CacheDtype = "f32" | "f16";

export const cacheDtypes: readonly CacheDtype[] = ["f16", "f32"];

export type KvCacheShape = {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens it can hold in all, over every sequence; rounded up to whole blocks. */
  readonly tokens: number;
  /** Consecutive positions that lie together. */
  readonly blockSize?: number;
  /** "f32" by default */
  readonly dtype?: CacheDtype;
};

/** Bytes that one token's keys and values take, over all layers. */
export function cacheBytesPerToken(shape: Omit<KvCacheShape, "tokens" | "blockSize">): number {
  const { layers, kvHeads, headDim, dtype = "f32" } = shape;
  return 2 * layers * kvHeads * headDim * (dtype === "f32" ? 4 : 2);
}

/** One sequence's place in the cache. `length` positions are stored. */
export type CacheSequence = {
  readonly blocks: readonly number[];
  readonly length: number;
};

const defaultBlockSize = 64;

/**
 * Keys and values of every layer in blocks of consecutive positions, handed out as sequences grow. Sequences of any
 * lengths share it.
 */
export class KvCache implements Disposable {
  readonly blockSize: number;
  /** Blocks it has, free or not. */
  readonly blocks: number;
  readonly #layers: readonly CacheLayer[];
  readonly #free: number[];
  readonly #open = new Map<CacheSequence, { blocks: number[]; length: number }>();

  /** @throws KernelError KERNEL_OUT_OF_MEMORY if the device has no room for it */
  constructor(device: Device, shape: KvCacheShape) {
    this.blockSize = shape.blockSize ?? defaultBlockSize;
    const blocks = Math.max(1, Math.ceil(shape.tokens / this.blockSize));
    this.blocks = blocks;
    const extent = [blocks, shape.kvHeads, this.blockSize, shape.headDim];
    const side = (): CacheTensor => device.empty(shape.dtype ?? "f32", extent);
    this.#layers = Array.from({ length: shape.layers }, () => ({ k: side(), v: side() }));
    this.#free = Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
  }

  /** Where a layer's keys and values are. A cache of one layer serves all layers of a pass without history. */
  layer(index: number): CacheLayer {
    const layer = this.#layers[index % this.#layers.length];
    if (layer === undefined) throw new KernelError("KERNEL_VALUE", "a cache needs a layer");
    return layer;
  }

  /** Tokens that could still be added, in whole blocks. */
  get freeTokens(): number {
    return this.#free.length * this.blockSize;
  }

  open(): CacheSequence {
    const state = { blocks: [], length: 0 };
    this.#open.set(state, state);
    return state;
  }

  /**
   * Makes room for `count` more tokens and counts them as stored.
   *
   * @throws KernelError KERNEL_OUT_OF_MEMORY if the cache is full; the sequence is then unchanged
   */
  extend(sequence: CacheSequence, count: number): void {
    const state = this.#open.get(sequence);
    if (state === undefined) throw new KernelError("KERNEL_VALUE", "the sequence is not open");
    const length = state.length + count;
    const missing = Math.ceil(length / this.blockSize) - state.blocks.length;
    if (missing > this.#free.length) {
      throw new KernelError(
        "KERNEL_OUT_OF_MEMORY",
        `the key/value cache has room for ${this.freeTokens} more tokens; a sequence of ${state.length} needs ${count}`,
      );
    }
    for (let i = 0; i < missing; i++) {
      const block = this.#free.pop();
      if (block !== undefined) state.blocks.push(block);
    }
    state.length = length;
  }

  /** Forgets the positions from `length` on. */
  truncate(sequence: CacheSequence, length: number): void {
    const state = this.#open.get(sequence);
    if (state === undefined || length > state.length) {
      throw new KernelError("KERNEL_VALUE", `a sequence cannot be cut to ${length} tokens`);
    }
    const kept = Math.ceil(length / this.blockSize);
    this.#free.push(...state.blocks.splice(kept).reverse());
    state.length = length;
  }

  /** Gives the blocks back; later steps may overwrite them. */
  close(sequence: CacheSequence): void {
    const state = this.#open.get(sequence);
    if (state === undefined) return;
    this.#open.delete(sequence);
    this.#free.push(...state.blocks.reverse());
  }

  [Symbol.dispose](): void {
    for (const { k, v } of this.#layers) {
      k[Symbol.dispose]();
      v[Symbol.dispose]();
    }
  }
}

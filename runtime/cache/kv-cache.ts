import { type CacheLayer, type Device, KernelError, type Tensor } from "../../kernels/index.ts";

/**
 * What keys and values are kept as. f16 rounds by 2⁻¹² and fails beyond 65504; bf16 rounds by 2⁻⁹ and keeps the range of f32;
 * int8 rounds by 1/510 of the range of a token's key or value of one head, and fails beyond f16's range.
 */
export type CacheDtype = "f32" | "f16" | "bf16" | "int8";

export const cacheDtypes: readonly CacheDtype[] = ["int8", "bf16", "f16", "f32"];

const elementBytes = { f32: 4, f16: 2, bf16: 2, int8: 1 } as const;
/** An int8 row of a head has two f16 numbers, its scale and its offset. */
const gridElements = 2;

export type KvCacheShape = {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens it can hold in all, over every sequence; rounded up to whole blocks. */
  readonly tokens: number;
  /** Consecutive positions that lie together. */
  readonly blockSize?: number;
  /** Whether there is a block more, for rows that belong to no sequence; false by default. */
  readonly hasIdleBlock?: boolean;
  /** "f32" by default */
  readonly dtype?: CacheDtype;
};

/** Of keys and values for one position of one sequence, over all layers. */
export function cacheBytesPerToken({
  layers,
  kvHeads,
  headDim,
  dtype = "f32",
}: Pick<KvCacheShape, "layers" | "kvHeads" | "headDim" | "dtype">): number {
  const gridBytes = dtype === "int8" ? gridElements * elementBytes.f16 : 0;
  return 2 * layers * kvHeads * (headDim * elementBytes[dtype] + gridBytes);
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
  /** Blocks that sequences can have, free or not. */
  readonly blocks: number;
  /** The block that no sequence gets. */
  readonly idleBlock: number | undefined;
  readonly #layers: readonly CacheLayer[];
  readonly #free: number[];
  readonly #open = new Map<CacheSequence, { blocks: number[]; length: number }>();

  /** @throws KernelError KERNEL_OUT_OF_MEMORY if the device has no room for it */
  constructor(device: Device, shape: KvCacheShape) {
    this.blockSize = shape.blockSize ?? defaultBlockSize;
    const blocks = Math.max(1, Math.ceil(shape.tokens / this.blockSize));
    this.blocks = blocks;
    this.idleBlock = shape.hasIdleBlock === true ? blocks : undefined;
    const all = this.idleBlock === undefined ? blocks : blocks + 1;
    this.#layers = Array.from({ length: shape.layers }, () =>
      emptyLayer(device, [all, shape.kvHeads, this.blockSize, shape.headDim], shape.dtype),
    );
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
    for (const { k, v, grids } of this.#layers) {
      for (const tensor of [k, v, grids?.k, grids?.v]) tensor?.[Symbol.dispose]();
    }
  }
}

function emptyLayer(
  device: Device,
  extent: readonly [number, number, number, number],
  dtype: CacheDtype = "f32",
): CacheLayer {
  if (dtype !== "int8") return { k: device.empty(dtype, extent), v: device.empty(dtype, extent) };
  const grid = (): Tensor<"f16"> => device.empty("f16", extent.with(3, gridElements));
  return {
    ...{ k: device.empty("u8", extent), v: device.empty("u8", extent) },
    grids: { k: grid(), v: grid() },
  };
}

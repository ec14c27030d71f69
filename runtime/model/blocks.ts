import type { Block, Model } from "./architecture.ts";

/**
 * A model's blocks with their indices, one after another. Each is disposed when the next is asked for. Where the model
 * prefetches them, a block's weights are copied while the one before it is worked on, and both are in the device's memory.
 *
 * @throws CheckpointError as Model.loadBlock, also of the block after the one to come
 */
export function* walkBlocks(model: Model): Generator<readonly [number, Block], void, void> {
  const { layers } = model.shape;
  const isPrefetched = model.prefetchesBlocks;
  let next: Block | undefined;
  try {
    for (let i = 0; i < layers; i++) {
      using block = next ?? model.loadBlock(i, { isPrefetched });
      next = undefined;
      if (isPrefetched && i + 1 < layers) next = model.loadBlock(i + 1, { isPrefetched });
      yield [i, block];
    }
  } finally {
    next?.[Symbol.dispose]();
  }
}

/** A block for its names and extents: a GPU does not copy what goes before it is used. */
export function peekBlock(model: Model, index: number): Block {
  return model.loadBlock(index, { isPrefetched: true });
}

// Where a packed weight keeps its inputs. Decided on the host, since it fixes the shapes of tensors.

/** More inputs would overflow the 32-bit sums of a block's products. */
const largestBlock = 128;

export type PlannedLayout = {
  /** Inputs per block, a multiple of 8 */
  readonly blockSize: number;
  /** [blocks · blockSize]: the input at each place, −1 for none; undefined where place i holds input i */
  readonly order: Int32Array<ArrayBuffer> | undefined;
  /** [blocks]: the group of each block */
  readonly blockGroups: Int32Array<ArrayBuffer>;
};

/**
 * Inputs in blocks of one group each. Groups that are consecutive and fill blocks keep the inputs' order; otherwise
 * (act-order, groups of unusual size) inputs are sorted by group and each group's last block is padded.
 *
 * @param groupIndex  [in], the group of each input; undefined where that is floor(input / groupSize)
 */
export function planLayout(
  inFeatures: number,
  groupSize: number,
  groupIndex: Int32Array | undefined,
): PlannedLayout {
  const isConsecutive =
    groupIndex?.every((group, input) => group === Math.floor(input / groupSize)) ?? true;
  const isWhole = groupSize <= largestBlock ? groupSize % 8 === 0 : groupSize % largestBlock === 0;
  if (isConsecutive && (isWhole || groupSize >= inFeatures)) {
    const blockSize = Math.min(largestBlock, roundUp(Math.min(groupSize, inFeatures), 8));
    const blocks = Math.ceil(inFeatures / blockSize);
    const blockGroups = Int32Array.from({ length: blocks }, (_, block) =>
      Math.floor((block * blockSize) / groupSize),
    );
    return { blockSize, order: undefined, blockGroups };
  }
  const groups = groupsOf(inFeatures, groupSize, groupIndex);
  const longest = groups.reduce((most, [, inputs]) => Math.max(most, inputs.length), 0);
  const blockSize = Math.min(largestBlock, roundUp(longest, 8));
  const blocks = groups.flatMap(([group, inputs]) =>
    Array.from({ length: Math.ceil(inputs.length / blockSize) }, (_, i) => ({
      group,
      inputs: inputs.slice(i * blockSize, (i + 1) * blockSize),
    })),
  );
  const order = new Int32Array(blocks.length * blockSize).fill(-1);
  for (const [i, { inputs }] of blocks.entries()) order.set(inputs, i * blockSize);
  return { blockSize, order, blockGroups: Int32Array.from(blocks, ({ group }) => group) };
}

/** The inputs of each group that has any, by group. */
function groupsOf(
  inFeatures: number,
  groupSize: number,
  groupIndex: Int32Array | undefined,
): readonly (readonly [group: number, inputs: readonly number[]])[] {
  const groups = new Map<number, number[]>();
  for (let input = 0; input < inFeatures; input++) {
    const group = groupIndex?.[input] ?? Math.floor(input / groupSize);
    const inputs = groups.get(group);
    if (inputs === undefined) groups.set(group, [input]);
    else inputs.push(input);
  }
  return [...groups].sort(([a], [b]) => a - b);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

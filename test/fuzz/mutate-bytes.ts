// Damage that knows nothing of what it damages.

export type Random = () => number;

export function below(limit: number, random: Random): number {
  return Math.floor(random() * limit);
}

export function pick<Item>(items: readonly Item[], random: Random): Item {
  const item = items[below(items.length, random)];
  if (item === undefined) throw new RangeError("nothing to pick from");
  return item;
}

/** What lengths, offsets and counts are compared with, and what overflows them. */
const extremes: readonly bigint[] = [
  ...[0n, 1n, 2n, 7n, 127n, 128n, 255n, 256n, 0x7fffn, 0xffffn],
  ...[2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n],
  ...[2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 8n],
];

type Mutation = (bytes: Buffer, at: number, random: Random) => Uint8Array;

function replaced(bytes: Buffer, at: number, removed: number, added: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
}

/** Somewhere from one byte to the rest of the file, mostly short. */
function length(bytes: Buffer, at: number, random: Random): number {
  return 1 + Math.floor((bytes.length - at) * random() ** 6);
}

const mutations: readonly Mutation[] = [
  (bytes, at, random) =>
    replaced(bytes, at, 1, Uint8Array.of((bytes[at] ?? 0) ^ (1 << below(8, random)))),
  (bytes, at, random) =>
    replaced(bytes, at, 1, Uint8Array.of(pick([0, 1, 0x7f, 0x80, 0xff], random))),
  (bytes, at, random) => replaced(bytes, at, 1, Uint8Array.of(below(256, random))),
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, random) => replaced(bytes, at, length(bytes, at, random), new Uint8Array()),
  (bytes, at, random) => {
    const from = below(bytes.length, random);
    return replaced(bytes, at, 0, bytes.subarray(from, from + length(bytes, from, random)));
  },
  (bytes, at, random) => {
    const from = below(bytes.length, random);
    const count = length(bytes, Math.max(at, from), random);
    return replaced(bytes, at, count, bytes.subarray(from, from + count));
  },
  (bytes, at, random) => {
    const noise = Uint8Array.from({ length: 1 + below(16, random) }, () => below(256, random));
    return replaced(bytes, at, 0, noise);
  },
  (bytes, at, random) => {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(pick(extremes, random));
    const size = pick([1, 2, 4, 8], random);
    return replaced(bytes, at, size, value.subarray(0, size));
  },
];

/** One mutation at an offset within [begin, end), anywhere by default. */
export function mutateBytes(
  bytes: Uint8Array,
  random: Random,
  [begin, end]: readonly [number, number] = [0, bytes.byteLength],
): Uint8Array {
  if (bytes.byteLength === 0) return Uint8Array.of(below(256, random));
  const at = Math.min(begin + below(Math.max(1, end - begin), random), bytes.byteLength - 1);
  return pick(mutations, random)(Buffer.from(bytes), at, random);
}

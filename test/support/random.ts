/** Seeded generator of test inputs (mulberry32): the same numbers on every machine. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal values; with `heavy`, one in fifty is twenty times larger, like outlier channels. */
export function normal(
  length: number,
  random: () => number,
  options: { readonly scale?: number; readonly heavy?: boolean } = {},
): Float32Array<ArrayBuffer> {
  const { scale = 1, heavy = false } = options;
  return Float32Array.from({ length }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const value = radius * Math.cos(2 * Math.PI * random()) * scale;
    return heavy && random() < 0.02 ? value * 20 : value;
  });
}

export function integers(
  length: number,
  limit: number,
  random: () => number,
): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length }, () => Math.floor(random() * limit));
}

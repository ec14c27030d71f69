/**
 * A seeded generator of numbers in [0, 1) with 53 random bits each. The same seed gives the same numbers
 * on every machine; not for secrets.
 *
 * @param seed  any safe integer; all of its 53 bits count
 * @see Blackman and Vigna, xoshiro128** 1.1, seeded by splitmix32 (https://prng.di.unimi.it)
 */
export function createRandom(seed: number): () => number {
  const split = splitmix32(Math.trunc(seed) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1));
  let a = split();
  let b = split();
  let c = split();
  let d = split();
  const next = (): number => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result;
  };
  return () => {
    const high = next() >>> 5;
    const low = next() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
}

function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

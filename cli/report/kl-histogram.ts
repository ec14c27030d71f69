// KL divergences span many orders of magnitude: how many tokens are in each quarter of a decade.

export type KlHistogram = {
  /** Bins' edges in nats, ascending; one more than there are bins */
  readonly edges: readonly number[];
  /** By model, the first left out: share of tokens in each bin; what is smaller than all is in the first */
  readonly shares: readonly (readonly number[])[];
};

const binsPerDecade = 4;
/** Float32 sums over a vocabulary carry no more than this. */
const smallest = 1e-9;
/** Below this share of the tokens a tail gets no bins of its own. */
const tail = 0.002;

/** @returns undefined if no divergence is above 0 */
export function klHistogram(divergences: readonly ArrayLike<number>[]): KlHistogram | undefined {
  const sorted = divergences.map((values) =>
    Float64Array.from(values)
      .filter((value) => value > smallest)
      .sort(),
  );
  const present = sorted.filter((values) => values.length > 0);
  if (present.length === 0) return undefined;
  const low = Math.min(...present.map((values) => values[Math.floor(values.length * tail)] ?? 0));
  const high = Math.max(...present.map((values) => values.at(-1) ?? 0));
  const first = Math.floor(binsPerDecade * Math.log10(low));
  const last = Math.max(first + 1, Math.ceil(binsPerDecade * Math.log10(high)));
  const edges = Array.from(
    { length: last - first + 1 },
    (_, i) => 10 ** ((first + i) / binsPerDecade),
  );
  return { edges, shares: divergences.map((values) => sharesOf(values, first, last)) };
}

function sharesOf(values: ArrayLike<number>, first: number, last: number): readonly number[] {
  const counts = new Array<number>(last - first).fill(0);
  for (let i = 0; i < values.length; i++) {
    const exponent = Math.floor(binsPerDecade * Math.log10(Math.max(values[i] ?? 0, smallest)));
    const bin = Math.min(Math.max(exponent - first, 0), counts.length - 1);
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return counts.map((count) => count / Math.max(values.length, 1));
}

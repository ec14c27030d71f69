// Perplexity by position in the window: what a model makes of more context.
import type { Interval } from "../../runtime/index.ts";
import type { TokenColumns } from "./token-columns.ts";

export type PositionBucket = {
  /** Positions from `first` to `last`, both included */
  readonly first: number;
  readonly last: number;
  /** Tokens scored there */
  readonly tokens: number;
  /** By model */
  readonly perplexity: readonly number[];
  /** Of perplexity against the first model, as a share; by model, null for the first and where there are too few tokens */
  readonly change: readonly (Change | null)[];
};

export type Change = { readonly value: number; readonly interval: Interval };

const bucketsPerDoubling = 2;
/** A standard error from fewer tokens says little. */
const fewest = 8;

/** In ascending order; only those with tokens. */
export function positionBuckets({ position, losses }: TokenColumns): readonly PositionBucket[] {
  const rows = new Map<number, number[]>();
  for (let row = 0; row < position.length; row++) {
    const bucket = Math.floor(
      bucketsPerDoubling * Math.log2(Math.max(position[row] ?? 1, 1)) + 1e-9,
    );
    const own = rows.get(bucket);
    if (own === undefined) rows.set(bucket, [row]);
    else own.push(row);
  }
  return [...rows]
    .sort(([a], [b]) => a - b)
    .map(([, own]) => {
      const places = own.map((row) => position[row] ?? 0);
      return {
        first: places.reduce((a, b) => Math.min(a, b)),
        last: places.reduce((a, b) => Math.max(a, b)),
        tokens: own.length,
        perplexity: losses.map((loss) => Math.exp(mean(own, (row) => loss[row] ?? 0))),
        change: losses.map((loss, i) => (i === 0 ? null : changeOf(own, loss, losses[0] ?? loss))),
      };
    });
}

/** From the tokens' differences of loss, as if they were independent. */
function changeOf(
  rows: readonly number[],
  loss: ArrayLike<number>,
  base: ArrayLike<number>,
): Change | null {
  if (rows.length < fewest) return null;
  const difference = (row: number) => (loss[row] ?? 0) - (base[row] ?? 0);
  const value = mean(rows, difference);
  const variance = mean(rows, (row) => (difference(row) - value) ** 2);
  const error = 1.96 * Math.sqrt(variance / (rows.length - 1));
  const share = (nats: number) => Math.expm1(nats);
  return {
    value: share(value),
    interval: { low: share(value - error), high: share(value + error) },
  };
}

function mean(rows: readonly number[], of: (row: number) => number): number {
  return rows.reduce((sum, row) => sum + of(row), 0) / rows.length;
}

// Which linears get more bits under a budget: most divergence saved for a bit first.

import type { LinearScheme } from "./schemes.ts";

/** A way to store some linears. */
export type StorageOption = LinearScheme & {
  /** Bits per weight, with scales and zeros */
  readonly cost: number;
  /** Estimated KL divergence that it causes, in nats */
  readonly divergence: number;
};

/** Linears that are stored alike. */
export type StorageUnit = {
  readonly linears: readonly string[];
  /** Elements of them all */
  readonly weights: number;
  readonly options: readonly StorageOption[];
};

/**
 * Chooses an option for each unit, so that the sum of divergences is small and the mean cost per weight at most `target`. Units
 * start with their cheapest option; of the steps along each unit's lower convex hull, those that save most for a bit are taken as
 * long as they fit. That is the best choice but for the last steps (Everett's Lagrange multipliers).
 *
 * @returns undefined if even the cheapest options cost more
 */
export function allocate(
  units: readonly StorageUnit[],
  target: number,
): readonly StorageOption[] | undefined {
  const hulls = units.map(({ options }) => lowerHull(options));
  const total = units.reduce((sum, { weights }) => sum + weights, 0);
  const chosen = hulls.map(() => 0);
  const cost = (u: number, step: number) =>
    (hulls[u]?.[step]?.cost ?? 0) * (units[u]?.weights ?? 0);
  let left = total * target - units.reduce((sum, _, u) => sum + cost(u, 0), 0);
  // Costs are exact in binary; sums of them nearly.
  const slack = 1e-9 * total;
  if (left < -slack) return undefined;
  const steps = hulls.flatMap((hull, u) =>
    hull.slice(1).map((option, i) => {
      const saved = (hull[i]?.divergence ?? 0) - option.divergence;
      const bits = cost(u, i + 1) - cost(u, i);
      return { u, to: i + 1, bits, gain: saved / bits };
    }),
  );
  steps.sort((a, b) => b.gain - a.gain);
  for (const { u, to, bits } of steps) {
    // A step needs those before it: on a hull they gain more, so they came before.
    if (bits > left + slack || chosen[u] !== to - 1) continue;
    chosen[u] = to;
    left -= bits;
  }
  return hulls.map((hull, u) => hull[chosen[u] ?? 0] as StorageOption);
}

/** Options that no mixture of others beats: by ascending cost, each step saving less for a bit than the one before. */
function lowerHull(options: readonly StorageOption[]): readonly StorageOption[] {
  const hull: StorageOption[] = [];
  const slope = (a: StorageOption, b: StorageOption) =>
    (a.divergence - b.divergence) / (b.cost - a.cost);
  for (const option of [...options].sort(
    (a, b) => a.cost - b.cost || a.divergence - b.divergence,
  )) {
    const last = hull.at(-1);
    if (last !== undefined && (last.cost === option.cost || last.divergence <= option.divergence)) {
      continue;
    }
    for (;;) {
      const [before, top] = [hull.at(-2), hull.at(-1)];
      if (before === undefined || top === undefined) break;
      if (slope(before, top) > slope(top, option)) break;
      hull.pop();
    }
    hull.push(option);
  }
  return hull;
}

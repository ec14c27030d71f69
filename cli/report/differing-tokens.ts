// Which tokens of an output another one does not have in the same order.

/** Beyond this many pairs of tokens the comparison would take seconds; a common beginning is found in any case. */
const mostPairs = 4_000_000;

/** For each piece of `pieces`, whether it is outside of the longest common subsequence with `base`. */
export function differingTokens(
  base: readonly string[],
  pieces: readonly string[],
): readonly boolean[] {
  let start = 0;
  while (start < base.length && start < pieces.length && base[start] === pieces[start]) start += 1;
  const rest = [base.slice(start), pieces.slice(start)] as const;
  const common = new Array<boolean>(start).fill(false);
  if (rest[0].length * rest[1].length > mostPairs) return [...common, ...rest[1].map(() => true)];
  return [...common, ...outsideOfCommon(rest[0], rest[1])];
}

function outsideOfCommon(base: readonly string[], pieces: readonly string[]): readonly boolean[] {
  const width = pieces.length + 1;
  // Lengths of the longest common subsequence of what follows, by row of base and column of pieces.
  const lengths = new Uint32Array((base.length + 1) * width);
  const at = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = base.length - 1; i >= 0; i--) {
    for (let j = pieces.length - 1; j >= 0; j--) {
      lengths[i * width + j] =
        base[i] === pieces[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const differs = pieces.map(() => true);
  for (let i = 0, j = 0; i < base.length && j < pieces.length; ) {
    if (base[i] === pieces[j]) {
      differs[j] = false;
      i += 1;
      j += 1;
    } else if (at(i + 1, j) >= at(i, j + 1)) i += 1;
    else j += 1;
  }
  return differs;
}

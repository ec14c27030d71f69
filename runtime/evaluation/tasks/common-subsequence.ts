/** Length of the longest common subsequence. @see Wagner & Fischer, The string-to-string correction problem (1974) */
export function commonLength<T>(a: readonly T[], b: readonly T[]): number {
  const row = new Int32Array(b.length + 1);
  for (const element of a) {
    let diagonal = 0;
    for (let j = 1; j <= b.length; j++) {
      const above = row[j] ?? 0;
      row[j] = element === b[j - 1] ? diagonal + 1 : Math.max(above, row[j - 1] ?? 0);
      diagonal = above;
    }
  }
  return row[b.length] ?? 0;
}

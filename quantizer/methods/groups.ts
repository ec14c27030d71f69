/** The group of each input when groups are consecutive inputs; a size of −1 is one group of all. */
export function consecutiveGroups(inFeatures: number, groupSize: number): Int32Array<ArrayBuffer> {
  const size = groupSize === -1 ? inFeatures : groupSize;
  return Int32Array.from({ length: inFeatures }, (_, i) => Math.floor(i / size));
}

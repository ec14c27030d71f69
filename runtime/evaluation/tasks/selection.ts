// Fewer items than there are, and items by what they have in common.

/** At most `limit` items of groups in turn, a group's first items first; what is kept stays in its order. */
export function takeEvenly<Item extends { readonly group: string }>(
  items: readonly Item[],
  limit: number | undefined,
): readonly Item[] {
  if (limit === undefined || items.length <= limit) return items;
  const ranks = new Map<string, number>();
  const ranked = items.map((item, index) => {
    const rank = ranks.get(item.group) ?? 0;
    ranks.set(item.group, rank + 1);
    return { item, index, rank };
  });
  const kept = ranked.toSorted((a, b) => a.rank - b.rank || a.index - b.index).slice(0, limit);
  return kept.sort((a, b) => a.index - b.index).map(({ item }) => item);
}

/** What to say of it. */
export function describeSelection(kept: number, all: number): readonly string[] {
  return kept === all ? [] : [`${kept} of ${all} items (--limit)`];
}

/** Values by key, keys in the order in which they come first. */
export function grouped<Key, Value>(
  values: readonly Value[],
  keyOf: (value: Value) => Key,
): ReadonlyMap<Key, readonly Value[]> {
  const groups = new Map<Key, Value[]>();
  for (const value of values) {
    const key = keyOf(value);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return groups;
}

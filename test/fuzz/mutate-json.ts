// Damage to JSON that mostly stays JSON: what a parser lets through and a schema must catch.

import { below, pick, type Random } from "./mutate-bytes.ts";

/** JSON with the order and the repetition of keys, and with anything for a value. */
type Node =
  | { readonly entries: readonly (readonly [key: string, value: Node])[] }
  | { readonly items: readonly Node[] }
  | { readonly text: string };

const values: readonly string[] = [
  ...[
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "-0",
    "0.5",
    "1e-320",
    "1e308",
    "1e999",
    "-1e999",
  ],
  ...["127", "128", "255", "65536", "2147483647", "2147483648", "4294967295", "4294967296"],
  ...["9007199254740991", "9007199254740993", "18446744073709551615", "18446744073709551616"],
  ...[
    '""',
    '"0"',
    '"x"',
    '"__proto__"',
    '"constructor"',
    '"\\u0000"',
    '"\\ud800"',
    '"../../x"',
    '"\\u001b[2J"',
  ],
  ...[
    '"BF16"',
    '"F16"',
    '"F32"',
    '"F64"',
    '"I32"',
    '"U8"',
    '"BOOL"',
    '"float16"',
    '"gptq"',
    '"gptq_v2"',
  ],
  ...[
    "[]",
    "{}",
    "[0]",
    "[[]]",
    "[0,0]",
    "[-1,-1]",
    "[1e20,1e20]",
    '["x"]',
    '{"x":0}',
    '{"__proto__":null}',
  ],
  `"${"long".repeat(4000)}"`,
  `[${"0,".repeat(4000)}0]`,
  `${"[".repeat(3000)}${"]".repeat(3000)}`,
  ...["NaN", "", "0x10", "'x'", "undefined", "[0,]", "01"],
];
const keys: readonly string[] = [
  "",
  "x",
  "__proto__",
  "constructor",
  "toString",
  "__metadata__",
  "\u0000",
  "0",
];

function parse(value: unknown): Node {
  if (Array.isArray(value)) return { items: value.map(parse) };
  if (typeof value !== "object" || value === null) return { text: JSON.stringify(value) };
  return { entries: Object.entries(value).map(([key, child]) => [key, parse(child)] as const) };
}

function textOf(node: Node): string {
  if ("text" in node) return node.text;
  if ("items" in node) return `[${node.items.map(textOf).join(",")}]`;
  return `{${node.entries.map(([key, value]) => `${JSON.stringify(key)}:${textOf(value)}`).join(",")}}`;
}

/** One mutation of a JSON text; what is none is mutated no further. */
export function mutateJson(text: string, random: Random): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  const root = parse(value);
  return textOf(mutateNode(root, root, random));
}

function mutateNode(node: Node, root: Node, random: Random): Node {
  // Large tables would otherwise draw every mutation away from what is above them.
  const descends = random() < 0.8;
  if ("text" in node || (descends && isEmpty(node))) return mutatedValue(node, root, random);
  if ("items" in node) {
    const items = descends
      ? changedAt(node.items, random, (item) => mutateNode(item, root, random))
      : mutatedList(node.items, random);
    return { items };
  }
  if (!descends) return { entries: mutatedEntries(node.entries, random) };
  const entries = changedAt(
    node.entries,
    random,
    ([key, child]) => [key, mutateNode(child, root, random)] as const,
  );
  return { entries };
}

function isEmpty(node: Node): boolean {
  return (
    ("items" in node && node.items.length === 0) || ("entries" in node && node.entries.length === 0)
  );
}

function changedAt<Item>(
  items: readonly Item[],
  random: Random,
  change: (item: Item) => Item,
): readonly Item[] {
  const at = below(items.length, random);
  return items.map((item, i) => (i === at ? change(item) : item));
}

function mutatedValue(node: Node, root: Node, random: Random): Node {
  const number = "text" in node ? Number(node.text) : Number.NaN;
  const kind = below(Number.isFinite(number) ? 4 : 2, random);
  if (kind === 0) return { text: pick(values, random) };
  if (kind === 1) return anywhere(root, random);
  const near = pick(
    [number + 1, number - 1, -number, number * 2, number / 2, number + 2 ** 32],
    random,
  );
  return { text: String(near) };
}

/** A part of the same document, to stand where it does not belong. */
function anywhere(node: Node, random: Random): Node {
  const children = childrenOf(node);
  return children.length === 0 || random() < 0.2 ? node : anywhere(pick(children, random), random);
}

function mutatedList<Item>(items: readonly Item[], random: Random): readonly Item[] {
  if (items.length === 0) return items;
  const at = below(items.length, random);
  const kind = below(3, random);
  if (kind === 0) return items.toSpliced(at, 1);
  if (kind === 1) return items.toSpliced(below(items.length, random), 0, pick(items, random));
  return items.toSpliced(at, 1).toSpliced(below(items.length, random), 0, pick(items, random));
}

function childrenOf(node: Node): readonly Node[] {
  if ("text" in node) return [];
  return "items" in node ? node.items : node.entries.map(([, child]) => child);
}

type Entries = readonly (readonly [string, Node])[];

function mutatedEntries(entries: Entries, random: Random): Entries {
  if (entries.length === 0 || random() < 0.6) return mutatedList(entries, random);
  if (random() < 0.5)
    return changedAt(entries, random, ([, child]) => [pick(keys, random), child] as const);
  const [, other] = pick(entries, random);
  return changedAt(entries, random, ([key]) => [key, other] as const);
}

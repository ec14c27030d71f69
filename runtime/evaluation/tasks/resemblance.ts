// How alike two texts are, by the measure that Qwen's scripts choose with where an answer names no letter: WRatio of RapidFuzz, the
// library behind thefuzz. https://rapidfuzz.github.io/RapidFuzz/Usage/fuzz.html

import { commonLength } from "./common-subsequence.ts";

/** Weights of what only holds for parts of a text, or for its words in any order. */
const unordered = 0.95;
const ofPart = 0.9;
const ofSmallPart = 0.6;

/** From 0 to 1. Case, and what is neither letter nor digit, do not count. */
export function resemblance(first: string, second: string): number {
  const a = normalized(first);
  const b = normalized(second);
  if (a.length === 0 || b.length === 0) return 0;
  const lengths = Math.max(a.length, b.length) / Math.min(a.length, b.length);
  const whole = ratio(a, b);
  if (lengths < 1.5) return Math.max(whole, tokenRatio(a, b, ratio) * unordered);
  const scale = lengths <= 8 ? ofPart : ofSmallPart;
  return Math.max(whole, partialRatio(a, b) * scale, partialTokenRatio(a, b) * unordered * scale);
}

/** Characters, not UTF-16 units. */
type Text = readonly string[];

function normalized(text: string): Text {
  return [
    ...text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]/gu, " ")
      .trim(),
  ];
}

/** What of both is a common subsequence. */
function ratio(a: Text, b: Text): number {
  const all = a.length + b.length;
  return all === 0 ? 1 : (2 * commonLength(a, b)) / all;
}

/** The best that the shorter does against any stretch of the longer of its own length, or shorter at either end. */
function partialRatio(a: Text, b: Text): number {
  if (a.length > b.length) return partialRatio(b, a);
  if (a.length === 0) return b.length === 0 ? 1 : 0;
  const best = bestStretch(a, b);
  // Of equals each can be the one that is cut.
  return a.length === b.length ? Math.max(best, bestStretch(b, a)) : best;
}

function bestStretch(short: Text, long: Text): number {
  let best = 0;
  for (let end = 1; end < long.length + short.length; end++) {
    const stretch = long.slice(Math.max(0, end - short.length), end);
    best = Math.max(best, ratio(short, stretch));
    if (best === 1) break;
  }
  return best;
}

type Ratio = (a: Text, b: Text) => number;

/** With words in order, or as sets: what both have against what each has besides. */
function tokenRatio(a: Text, b: Text, measure: Ratio): number {
  const [first, second] = [wordsOf(a), wordsOf(b)];
  return Math.max(measure(joined(first), joined(second)), tokenSetRatio(first, second));
}

function tokenSetRatio(first: readonly string[], second: readonly string[]): number {
  const { common, onlyFirst, onlySecond } = compareSets(first, second);
  if (common.length > 0 && (onlyFirst.length === 0 || onlySecond.length === 0)) return 1;
  const [shared, restA, restB] = [joined(common), joined(onlyFirst), joined(onlySecond)];
  const gap = shared.length === 0 ? 0 : 1;
  const lengthA = shared.length + gap + restA.length;
  const lengthB = shared.length + gap + restB.length;
  const both = lengthA + lengthB;
  // What is shared stands first in both, so that only the rests can differ.
  const matched = shared.length + gap + commonLength(restA, restB);
  const whole = both === 0 ? 0 : (2 * matched) / both;
  if (shared.length === 0) return whole;
  const againstShared = (length: number) => (2 * shared.length) / (shared.length + length);
  return Math.max(whole, againstShared(lengthA), againstShared(lengthB));
}

function partialTokenRatio(a: Text, b: Text): number {
  const [first, second] = [wordsOf(a), wordsOf(b)];
  const { common, onlyFirst, onlySecond } = compareSets(first, second);
  // A word in common is a part that is the same.
  if (common.length > 0) return 1;
  return Math.max(
    partialRatio(joined(first), joined(second)),
    partialRatio(joined(onlyFirst), joined(onlySecond)),
  );
}

function wordsOf(text: Text): readonly string[] {
  return text
    .join("")
    .split(/\s+/)
    .filter((word) => word !== "")
    .sort(byCodePoint);
}

function byCodePoint(a: string, b: string): number {
  const [x, y] = [[...a], [...b]];
  const at = x.findIndex((character, i) => character !== y[i]);
  if (at < 0) return x.length - y.length;
  return (x[at]?.codePointAt(0) ?? 0) - (y[at]?.codePointAt(0) ?? -1);
}

function joined(words: readonly string[]): Text {
  return [...words.join(" ")];
}

function compareSets(first: readonly string[], second: readonly string[]) {
  const [a, b] = [new Set(first), new Set(second)];
  return {
    common: [...a].filter((word) => b.has(word)),
    onlyFirst: [...a].filter((word) => !b.has(word)),
    onlySecond: [...b].filter((word) => !a.has(word)),
  };
}

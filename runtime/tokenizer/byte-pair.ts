// Byte-pair encoding in O(n log n) for text with very long pieces.
//
// tiktoken's merge is quadratic in the length of one piece (100,000 spaces take 6 s), and its regular
// expression engine gives up on pieces beyond its backtracking limit. Text that holds a long run of one
// character class takes this path instead. It merges by the same rule (lowest rank first, leftmost on
// ties), so the ids are the reference's; only the Unicode version behind \p{L}, \p{N} and
// \p{White_Space} may differ, and only in such text.

import { TokenizerError } from "./errors.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A run of this many UTF-16 units of one class, at a multiple of it, counts as long. */
export const longRun = 512;

const runPattern = /\p{L}+|\p{N}+|\p{White_Space}+|[^\p{L}\p{N}\p{White_Space}]+/uy;

// Qwen's pattern in JavaScript: \s there is White_Space (V8's \s has U+FEFF and lacks U+0085), and
// (?i:'s) folds case as Unicode does, so that U+017F (long s) counts as s.
const piecePattern =
  /'(?:[sSſ]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\p{White_Space}\p{L}\p{N}]+[\r\n]*|\p{White_Space}*[\r\n]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/**
 * Whether text has a run of one character class long enough to make tiktoken slow. Never misses a run
 * of 2 · longRun units: such a run covers a whole stretch between two probes.
 */
export function hasLongRun(text: string): boolean {
  for (let probe = 0; probe + longRun <= text.length; probe += longRun) {
    const unit = text.charCodeAt(probe);
    const isTrailSurrogate = unit >= 0xdc00 && unit <= 0xdfff;
    runPattern.lastIndex = isTrailSurrogate ? probe + 1 : probe;
    runPattern.test(text);
    if (runPattern.lastIndex >= probe + longRun) {
      return true;
    }
  }
  return false;
}

/** Encodes ordinary (NFC, no control tokens) text piece by piece; same ids as tiktoken. */
export function createLongTextEncoder(vocabulary: Vocabulary): (text: string) => number[] {
  const ranks = new Map<string, number>();
  for (let rank = 0; rank < vocabulary.size; rank += 1) {
    ranks.set(latin1(vocabulary.bytesOf(rank)), rank);
  }
  const rankOf = (bytes: Buffer, start: number, end: number): number | undefined =>
    end - start > vocabulary.longest ? undefined : ranks.get(bytes.toString("latin1", start, end));

  return (text) => {
    const ids: number[] = [];
    for (const piece of splitPieces(text)) {
      const bytes = Buffer.from(piece, "utf8");
      const whole = rankOf(bytes, 0, bytes.length);
      if (whole === undefined) {
        mergePairs(bytes, rankOf, ids);
      } else {
        ids.push(whole);
      }
    }
    return ids;
  };
}

function splitPieces(text: string): readonly string[] {
  try {
    return text.match(piecePattern) ?? [];
  } catch (cause) {
    throw new TokenizerError(
      "TOKENIZER_TEXT",
      `the text (${text.length} characters) has a run too long to split; break it into several documents`,
      { cause },
    );
  }
}

type RankOf = (bytes: Buffer, start: number, end: number) => number | undefined;

const noPair = -1;
/** Heap keys are rank · keyBase + start: exact in a double, ordered by rank, then leftmost. */
const keyBase = 2 ** 32;

function mergePairs(bytes: Buffer, rankOf: RankOf, ids: number[]): void {
  const length = bytes.length;
  const next = Int32Array.from({ length }, (_, start) => start + 1); // end of the part that begins here
  const previous = Int32Array.from({ length }, (_, start) => start - 1);
  const pairRank = new Int32Array(length).fill(noPair); // also marks heap entries that went stale
  const heap: number[] = [];

  const refresh = (start: number): void => {
    const middle = next[start] ?? length;
    const rank = middle < length ? rankOf(bytes, start, next[middle] ?? length) : undefined;
    pairRank[start] = rank ?? noPair;
    if (rank !== undefined) {
      pushKey(heap, rank * keyBase + start);
    }
  };

  for (let start = 0; start < length; start += 1) {
    refresh(start);
  }
  for (let key = popKey(heap); key !== undefined; key = popKey(heap)) {
    const start = key % keyBase;
    if (pairRank[start] !== (key - start) / keyBase) {
      continue;
    }
    const middle = next[start] ?? length;
    const end = next[middle] ?? length;
    next[start] = end;
    pairRank[middle] = noPair;
    if (end < length) {
      previous[end] = start;
    }
    refresh(start);
    if (start > 0) {
      refresh(previous[start] ?? 0);
    }
  }
  for (let start = 0; start < length; start = next[start] ?? length) {
    ids.push(requireRank(rankOf(bytes, start, next[start] ?? length)));
  }
}

/** Single bytes are checked at loading and merged parts have a rank, so one without is a mistake here. */
function requireRank(rank: number | undefined): number {
  if (rank === undefined) {
    throw new Error("a merged part has no rank");
  }
  return rank;
}

function pushKey(heap: number[], key: number): void {
  let at = heap.length;
  heap.push(key);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] ?? key;
    if (above <= key) {
      break;
    }
    heap[at] = above;
    at = parent;
  }
  heap[at] = key;
}

function popKey(heap: number[]): number | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (last === undefined || heap.length === 0) {
    return top;
  }
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const right = left + 1;
    const leftKey = heap[left] ?? Number.POSITIVE_INFINITY;
    const rightKey = heap[right] ?? Number.POSITIVE_INFINITY;
    const child = rightKey < leftKey ? right : left;
    const childKey = Math.min(leftKey, rightKey);
    if (childKey >= last) {
      break;
    }
    heap[at] = childKey;
    at = child;
  }
  heap[at] = last;
  return top;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

// Documents → token segments, the batches that calibration runs through the model. Nothing is ever padded:
// a padding token would count in the Hessian like any other.

import { createRandom, type EncodeOptions, type Tokenizer } from "../runtime/index.ts";
import type { CalibrationDocument } from "./dataset.ts";
import { CalibrationError } from "./errors.ts";
import {
  type Candidate,
  cutPieces,
  cutStream,
  cutWindows,
  packConversations,
  shuffle,
} from "./packing.ts";
import { type Tokenized, type TokenScope, tokenize } from "./tokenize.ts";

export type SegmentOptions = {
  /** Segments wanted. */
  readonly count: number;
  /** Tokens per segment, at most. */
  readonly length: number;
  readonly seed: number;
  /** Which tokens count; default "all". */
  readonly scope?: TokenScope | undefined;
  /** Control tokens to read as such in texts and messages; default "all". Ready-made ids are what they are. */
  readonly allowedSpecial?: EncodeOptions["allowedSpecial"];
};

/** Documents that share a weight. */
export type CalibrationSource = {
  readonly name: string;
  readonly documents: readonly CalibrationDocument[];
  /** Share of the segments, relative to the other sources' weights; above 0. */
  readonly weight: number;
};

/** What became of a source. */
export type SourceUse = {
  readonly name: string;
  readonly weight: number;
  /** Documents by kind. */
  readonly documents: Readonly<Record<CalibrationDocument["kind"], number>>;
  /** Documents with at least one token in a segment. */
  readonly documentsUsed: number;
  /** Conversations longer than a segment, of which only the beginning is used. */
  readonly documentsCut: number;
  readonly segments: number;
  readonly tokens: number;
  /** Of these, how many count. */
  readonly counted: number;
};

export type Segments = {
  /** [segments] of [tokens] i32, each of 2 … length tokens */
  readonly ids: readonly Int32Array[];
  /** Per segment [tokens] u8, 1 where a token counts; absent where all do. */
  readonly masks?: readonly Uint8Array[];
  /** Tokens in all segments together. */
  readonly tokens: number;
  /** Of these, how many count in a Hessian. */
  readonly counted: number;
  /** Documents with at least one token in a segment. */
  readonly documentsUsed: number;
  /** In the order of the segments, which are grouped by source; none if the segments were ready-made. */
  readonly sources: readonly SourceUse[];
  /** Present when the data gave less than was asked for; says what and why. */
  readonly note?: string;
};

/** A segment needs a next token to be of use in any loss, and one token alone attends to nothing. */
const minTokens = 2;

/**
 * Chooses segments without overlap:
 * - a text of at least `length` tokens is cut into windows of exactly `length` tokens from a random start,
 *   so a document is chosen in proportion to its token count and no token is used twice;
 * - shorter texts are joined in random order with `<|endoftext|>` between them and cut into windows
 *   (a text may go on in the next window; only the last window may be shorter);
 * - a conversation is cut to its first `length` tokens and never split; consecutive short ones share a
 *   segment while they fit, with `<|endoftext|>` between them, since hundreds of short segments would cost
 *   as many forward passes as full ones;
 * - ready-made ids are a segment as they stand, or several where they are longer.
 *
 * All of these are shuffled and the first `count` taken; the same seed gives the same segments. Several sources each give
 * segments in proportion to their weights; where one runs out, the others give more.
 *
 * @throws CalibrationError CALIBRATION_OPTION on a bad option, CALIBRATION_EMPTY if the data gives no segment,
 *   CALIBRATION_ROW if a ready-made id is none of the tokenizer's
 */
export function sampleSources(
  sources: readonly CalibrationSource[],
  tokenizer: Tokenizer,
  options: SegmentOptions,
): Segments {
  checkOptions(options);
  const { count, length, seed, scope = "all", allowedSpecial = "all" } = options;
  // One stream of numbers for all: the first source's segments do not depend on whether others follow.
  const random = createRandom(seed);
  const packing = {
    ...{ length, separator: tokenizer.specials.endOfText },
    separatorCounts: scope === "all" ? 1 : 0,
  };
  const offers = sources.map((source) => {
    const tokenized = source.documents.map((content, index) =>
      tokenize(content, index, { tokenizer, scope, allowedSpecial }),
    );
    return { source, tokenized, candidates: candidatesOf(tokenized, packing, random) };
  });
  const shares = divide(
    count,
    offers.map(({ source, candidates }) => ({
      weight: source.weight,
      available: candidates.length,
    })),
  );
  const taken = offers.map(({ candidates }, i) => candidates.slice(0, shares[i]));
  const uses = offers.map(({ source, tokenized }, i) =>
    describeUse(source, tokenized, taken[i] ?? [], length),
  );
  const masks = taken.flat().map(({ mask }) => mask);
  const segments = {
    ids: taken.flat().map(({ ids }) => ids),
    ...(scope === "all" ? {} : { masks }),
    tokens: total(uses, "tokens"),
    counted: total(uses, "counted"),
    documentsUsed: total(uses, "documentsUsed"),
    sources: uses,
  };
  if (segments.counted === 0) throw noSegment(total(uses, "segments"), sources);
  const notes = notesOn(segments, options);
  return notes.length === 0 ? segments : { ...segments, note: notes.join("; ") };
}

/** Segments of one source. */
export function sampleSegments(
  documents: readonly CalibrationDocument[],
  tokenizer: Tokenizer,
  options: SegmentOptions,
): Segments {
  return sampleSources([{ name: "", documents, weight: 1 }], tokenizer, options);
}

function candidatesOf(
  tokenized: readonly Tokenized[],
  packing: Parameters<typeof packConversations>[1],
  random: () => number,
): readonly Candidate[] {
  const { length } = packing;
  const ofKind = (kind: Tokenized["kind"]) => tokenized.filter((one) => one.kind === kind);
  const texts = ofKind("text");
  const isLong = ({ ids }: Tokenized): boolean => ids.length >= length;
  const shortTexts = shuffle(
    texts.filter((one) => !isLong(one)),
    random,
  );
  const packed = cutStream(shortTexts, packing);
  const candidates = [
    ...texts.filter(isLong).flatMap((one) => cutWindows(one, length, random)),
    ...packed.full,
    ...packConversations(ofKind("conversation"), packing),
    ...ofKind("tokens").flatMap((one) => cutPieces(one, length)),
  ];
  // The short rest of the packed texts comes last: it is taken only when there is nothing better.
  const usable = ({ ids }: Candidate): boolean => ids.length >= minTokens;
  return [...shuffle(candidates.filter(usable), random), ...[packed.rest].filter(usable)];
}

/** Webster's method: each segment goes to the source that is furthest behind its weight and still has one. */
function divide(
  count: number,
  sources: readonly { readonly weight: number; readonly available: number }[],
): readonly number[] {
  const shares = sources.map(() => 0);
  for (let given = 0; given < count; given++) {
    let next = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (const [i, { weight, available }] of sources.entries()) {
      const share = shares[i] ?? 0;
      const progress = (share + 0.5) / weight;
      if (share >= available || progress >= lowest) continue;
      next = i;
      lowest = progress;
    }
    if (next < 0) break;
    shares[next] = (shares[next] ?? 0) + 1;
  }
  return shares;
}

function describeUse(
  { name, weight }: CalibrationSource,
  tokenized: readonly Tokenized[],
  taken: readonly Candidate[],
  length: number,
): SourceUse {
  const documents = { text: 0, conversation: 0, tokens: 0 };
  for (const { kind } of tokenized) documents[kind]++;
  return {
    ...{ name, weight, documents, segments: taken.length },
    documentsUsed: new Set(taken.flatMap((one) => one.documents)).size,
    documentsCut: tokenized.filter(
      ({ kind, ids }) => kind === "conversation" && ids.length > length,
    ).length,
    tokens: taken.reduce((sum, { ids }) => sum + ids.length, 0),
    counted: taken.reduce((sum, { mask }) => sum + countOnes(mask), 0),
  };
}

function notesOn(
  { ids, tokens, sources }: Segments,
  { count, length, scope }: SegmentOptions,
): readonly string[] {
  const notes: string[] = [];
  if (ids.length < count) {
    notes.push(
      `the data gives ${ids.length} segments of up to ${length} tokens (${tokens} tokens), ${count} were asked for`,
    );
  } else {
    const weights = total(sources, "weight");
    for (const { name, weight, segments } of sources) {
      const share = Math.floor((count * weight) / weights);
      if (segments >= share) continue;
      notes.push(
        `${name} gives ${segments} segments, fewer than its share of ${share}; the others give more`,
      );
    }
  }
  const roleless = sources.filter(({ documents }) => documents.text + documents.tokens > 0);
  if (scope === "assistant" && roleless.length > 0) {
    notes.push("texts and ready-made ids have no roles: all their tokens count");
  }
  return notes;
}

function countOnes(mask: Uint8Array): number {
  return mask.reduce((sum, counts) => sum + counts, 0);
}

function total(
  uses: readonly SourceUse[],
  field: "tokens" | "counted" | "documentsUsed" | "segments" | "weight",
): number {
  return uses.reduce((sum, use) => sum + use[field], 0);
}

function noSegment(segments: number, sources: readonly CalibrationSource[]): CalibrationError {
  const documents = sources.reduce((sum, source) => sum + source.documents.length, 0);
  const names = sources.map(({ name }) => name).filter((name) => name !== "");
  const data = names.length === 0 ? "the calibration data" : names.join(", ");
  const content = `${documents} ${documents === 1 ? "document" : "documents"}`;
  return new CalibrationError(
    "CALIBRATION_EMPTY",
    segments > 0
      ? `${data}: none of the tokens (of ${content}) is an assistant's`
      : `${data}: ${content} did not give one segment of ${minTokens} tokens`,
  );
}

function checkOptions(options: SegmentOptions): void {
  const minima = { count: 1, length: minTokens, seed: 0 };
  for (const name of ["count", "length", "seed"] as const) {
    const value = options[name];
    if (!Number.isSafeInteger(value) || value < minima[name]) {
      throw new CalibrationError(
        "CALIBRATION_OPTION",
        `${name} must be an integer from ${minima[name]}, got ${value}`,
      );
    }
  }
}

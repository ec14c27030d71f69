// Documents → token segments, the batches that calibration runs through the model. Nothing is ever padded:
// a padding token would count in the Hessian like any other.

import { createRandom, type Tokenizer } from "../runtime/index.ts";
import { conversationIds } from "./conversation.ts";
import type { CalibrationDocument } from "./dataset.ts";
import { CalibrationError } from "./errors.ts";

export type SegmentOptions = {
  /** Segments wanted. */
  readonly count: number;
  /** Tokens per segment, at most. */
  readonly length: number;
  readonly seed: number;
};

export type Segments = {
  /** [segments] of [tokens] i32, each of 2 … length tokens */
  readonly ids: readonly Int32Array[];
  /** Tokens in all segments together. */
  readonly tokens: number;
  /** Documents with at least one token in a segment. */
  readonly documentsUsed: number;
  /** Present when the data gave less than was asked for; says what and why. */
  readonly note?: string;
};

/** A segment and the documents (by index) it was made of. */
type Candidate = { readonly ids: Int32Array; readonly documents: readonly number[] };
type Tokenized = { readonly ids: Int32Array; readonly document: number };

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
 *   as many forward passes as full ones.
 *
 * All of these are shuffled and the first `count` taken; the same seed gives the same segments. Control
 * tokens spelled in a document are read as such, the reference's default.
 *
 * @throws CalibrationError CALIBRATION_OPTION on a bad option, CALIBRATION_EMPTY if the data gives no segment
 */
export function sampleSegments(
  documents: readonly CalibrationDocument[],
  tokenizer: Tokenizer,
  options: SegmentOptions,
): Segments {
  checkOptions(options);
  const { count, length } = options;
  const random = createRandom(options.seed);
  const { texts, conversations } = tokenize(documents, tokenizer);
  const isLong = ({ ids }: Tokenized): boolean => ids.length >= length;
  const separator = tokenizer.specials.endOfText;
  const packed = cutStream(
    shuffle(
      texts.filter((text) => !isLong(text)),
      random,
    ),
    { length, separator },
  );
  const candidates = [
    ...texts.filter(isLong).flatMap((text) => cutWindows(text, length, random)),
    ...packed.full,
    ...packConversations(conversations, { length, separator }),
  ].filter(({ ids }) => ids.length >= minTokens);
  // The short rest of the packed texts comes last: it is taken only when there is nothing better.
  const chosen = [...shuffle(candidates, random), ...packed.rest].slice(0, count);
  if (chosen.length === 0) {
    throw new CalibrationError(
      "CALIBRATION_EMPTY",
      `the calibration data (${documents.length} documents) does not give one segment of ${minTokens} tokens`,
    );
  }
  return summarise(chosen, options);
}

function summarise(chosen: readonly Candidate[], { count, length }: SegmentOptions): Segments {
  const ids = chosen.map((segment) => segment.ids);
  const tokens = ids.reduce((sum, segment) => sum + segment.length, 0);
  const segments = {
    ids,
    tokens,
    documentsUsed: new Set(chosen.flatMap((segment) => segment.documents)).size,
  };
  if (chosen.length === count) {
    return segments;
  }
  const note = `the data gives ${chosen.length} segments of up to ${length} tokens (${tokens} tokens), ${count} were asked for`;
  return { ...segments, note };
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

function tokenize(
  documents: readonly CalibrationDocument[],
  tokenizer: Tokenizer,
): { texts: Tokenized[]; conversations: Tokenized[] } {
  const texts: Tokenized[] = [];
  const conversations: Tokenized[] = [];
  for (const [document, content] of documents.entries()) {
    if (content.kind === "text") {
      texts.push({ ids: tokenizer.encode(content.text), document });
    } else {
      conversations.push({ ids: conversationIds(tokenizer, content).ids, document });
    }
  }
  return { texts, conversations };
}

function cutWindows(
  { ids, document }: Tokenized,
  length: number,
  random: () => number,
): Candidate[] {
  const windows = Math.floor(ids.length / length);
  const start = Math.floor(random() * (ids.length - windows * length + 1));
  return Array.from({ length: windows }, (_, i) => ({
    ids: ids.slice(start + i * length, start + (i + 1) * length),
    documents: [document],
  }));
}

type Packing = { readonly length: number; readonly separator: number };

function cutStream(
  texts: readonly Tokenized[],
  { length, separator }: Packing,
): { full: Candidate[]; rest: Candidate[] } {
  const full: Candidate[] = [];
  let ids: number[] = [];
  let documents: number[] = [];
  const append = (id: number, document: number): void => {
    ids.push(id);
    if (documents.at(-1) !== document) {
      documents.push(document);
    }
    if (ids.length === length) {
      full.push({ ids: Int32Array.from(ids), documents });
      ids = [];
      documents = [];
    }
  };
  for (const [index, text] of texts.entries()) {
    for (const id of text.ids) {
      append(id, text.document);
    }
    if (index < texts.length - 1) {
      append(separator, text.document);
    }
  }
  const rest = ids.length < minTokens ? [] : [{ ids: Int32Array.from(ids), documents }];
  return { full, rest };
}

function packConversations(
  conversations: readonly Tokenized[],
  { length, separator }: Packing,
): Candidate[] {
  const candidates: Candidate[] = [];
  let ids: number[] = [];
  let documents: number[] = [];
  const close = (): void => {
    if (ids.length > 0) {
      candidates.push({ ids: Int32Array.from(ids), documents });
    }
    ids = [];
    documents = [];
  };
  for (const conversation of conversations) {
    const whole = conversation.ids.subarray(0, length);
    if (ids.length + 1 + whole.length > length) {
      close();
    }
    if (ids.length > 0) {
      ids.push(separator);
    }
    for (const id of whole) {
      ids.push(id);
    }
    documents.push(conversation.document);
  }
  close();
  return candidates;
}

/** Fisher and Yates; a new array. */
function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const shuffled: T[] = [];
  for (const item of items) {
    const at = Math.floor(random() * (shuffled.length + 1));
    shuffled.push(item);
    const displaced = shuffled[at];
    if (displaced !== undefined) {
      shuffled[shuffled.length - 1] = displaced;
      shuffled[at] = item;
    }
  }
  return shuffled;
}

// Tokenized documents → pieces of at most a length, without overlap and without padding.

import type { Tokenized } from "./tokenize.ts";

/** A segment to be and the documents (by index) it is made of. */
export type Candidate = {
  readonly ids: Int32Array;
  /** [tokens] u8, 1 where a token counts */
  readonly mask: Uint8Array;
  readonly documents: readonly number[];
};

export type Packing = {
  readonly length: number;
  /** Token id between two documents. */
  readonly separator: number;
  /** Whether the separator between two conversations counts, 1 or 0; between two texts it does. */
  readonly separatorCounts: number;
};

/** Tokens that become one candidate. */
class Piece {
  readonly #ids: number[] = [];
  readonly #mask: number[] = [];
  readonly #documents: number[] = [];

  get length(): number {
    return this.#ids.length;
  }

  append(id: number, counts: number, document: number): void {
    this.#ids.push(id);
    this.#mask.push(counts);
    if (this.#documents.at(-1) !== document) this.#documents.push(document);
  }

  finish(): Candidate {
    return {
      ids: Int32Array.from(this.#ids),
      mask: Uint8Array.from(this.#mask),
      documents: this.#documents,
    };
  }
}

/** As many whole windows as there are, the first at a random place. */
export function cutWindows(
  document: Tokenized,
  length: number,
  random: () => number,
): readonly Candidate[] {
  const windows = Math.floor(document.ids.length / length);
  const start = Math.floor(random() * (document.ids.length - windows * length + 1));
  return Array.from({ length: windows }, (_, i) => part(document, start + i * length, length));
}

/** Windows from the beginning; the last may be shorter. */
export function cutPieces(document: Tokenized, length: number): readonly Candidate[] {
  return Array.from({ length: Math.ceil(document.ids.length / length) }, (_, i) =>
    part(document, i * length, length),
  );
}

function part({ ids, mask, document }: Tokenized, start: number, length: number): Candidate {
  const end = start + length;
  return { ids: ids.slice(start, end), mask: mask.slice(start, end), documents: [document] };
}

/** Joins texts with the separator between them and cuts the whole into windows. */
export function cutStream(
  texts: readonly Tokenized[],
  { length, separator }: Packing,
): { readonly full: readonly Candidate[]; readonly rest: Candidate } {
  const full: Candidate[] = [];
  let piece = new Piece();
  const append = (id: number, counts: number, document: number): void => {
    piece.append(id, counts, document);
    if (piece.length < length) return;
    full.push(piece.finish());
    piece = new Piece();
  };
  for (const [index, { ids, mask, document }] of texts.entries()) {
    for (const [at, id] of ids.entries()) append(id, mask[at] ?? 0, document);
    if (index < texts.length - 1) append(separator, 1, document);
  }
  return { full, rest: piece.finish() };
}

/** The beginnings of conversations, several in one candidate while they fit, the separator between them. */
export function packConversations(
  conversations: readonly Tokenized[],
  { length, separator, separatorCounts }: Packing,
): readonly Candidate[] {
  const candidates: Candidate[] = [];
  let piece = new Piece();
  for (const { ids, mask, document } of conversations) {
    const whole = ids.subarray(0, length);
    if (piece.length > 0 && piece.length + 1 + whole.length > length) {
      candidates.push(piece.finish());
      piece = new Piece();
    }
    if (piece.length > 0) piece.append(separator, separatorCounts, document);
    for (const [at, id] of whole.entries()) piece.append(id, mask[at] ?? 0, document);
  }
  return piece.length > 0 ? [...candidates, piece.finish()] : candidates;
}

/** Fisher and Yates; a new array. */
export function shuffle<T>(items: readonly T[], random: () => number): T[] {
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

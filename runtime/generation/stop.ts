// Where to end a generation: sequences of ids, and strings in the decoded text. A string may be cut across
// tokens in ways its own ids never show ("Observation:" may come as "Observ", "ation", ":\n").

import { GenerationError } from "./errors.ts";

export type StopOptions = {
  readonly ids?: readonly (readonly number[])[];
  readonly strings?: readonly string[];
};

export type StopReason =
  | { readonly kind: "ids"; readonly ids: readonly number[] }
  | { readonly kind: "string"; readonly value: string };

export type StopStep = {
  /** Text that can be shown now; never part of a stop sequence. */
  readonly text: string;
  /** Why to end here, or null to go on. Once set, nothing more may be pushed. */
  readonly stop: StopReason | null;
};

export interface StopMatcher {
  /** @param delta  the text this token completed, from the detokenizer */
  push(id: number, delta: string): StopStep;
  /**
   * The end without a stop (length limit): releases the text held back.
   *
   * @param tail  what the detokenizer's flush returned
   */
  finish(tail: string): StopStep;
}

/**
 * Watches generated tokens for the first stop sequence. The text of the stop itself is withheld, and so
 * is, until it is decided, text that may turn out to begin one.
 *
 * @throws GenerationError GENERATION_OPTION on an empty sequence or string, or an id that is no integer ≥ 0
 */
export function createStopMatcher(options: StopOptions): StopMatcher {
  const { ids: sequences = [], strings = [] } = options;
  checkStops(sequences, strings);
  const kept = Math.max(1, ...sequences.map((sequence) => sequence.length));
  let recent: { readonly id: number; readonly length: number }[] = []; // last tokens, newest last
  let held = "";

  /** Length of the text that the last `count` tokens brought, all of it still held. */
  const textLength = (count: number): number =>
    count === 0 ? 0 : recent.slice(-count).reduce((sum, token) => sum + token.length, 0);

  const release = (keep: number): string => {
    const text = held.slice(0, held.length - keep);
    held = held.slice(held.length - keep);
    return text;
  };

  /** The stop that begins first in the held text. */
  const findStop = (): { at: number; reason: StopReason } | undefined => {
    let found: { at: number; reason: StopReason } | undefined;
    for (const ids of sequences.filter((sequence) => endsWith(recent, sequence))) {
      const at = held.length - textLength(ids.length);
      if (found === undefined || at < found.at) {
        found = { at, reason: { kind: "ids", ids } };
      }
    }
    for (const value of strings) {
      const at = held.indexOf(value);
      if (at >= 0 && (found === undefined || at < found.at)) {
        found = { at, reason: { kind: "string", value } };
      }
    }
    return found;
  };

  const stopAt = (found: { at: number; reason: StopReason }): StopStep => {
    const text = held.slice(0, found.at);
    held = "";
    return { text, stop: found.reason };
  };

  return {
    push(id, delta) {
      held += delta;
      recent = [...recent, { id, length: delta.length }].slice(-kept);
      const found = findStop();
      if (found !== undefined) {
        return stopAt(found);
      }
      const openTokens = Math.max(0, ...sequences.map((sequence) => openLength(recent, sequence)));
      const openText = Math.max(0, ...strings.map((value) => openSuffix(held, value)));
      return { text: release(Math.max(textLength(openTokens), openText)), stop: null };
    },
    finish(tail) {
      held += tail;
      recent = [];
      const found = findStop();
      return found === undefined ? { text: release(0), stop: null } : stopAt(found);
    },
  };
}

function endsWith(
  recent: readonly { readonly id: number }[],
  sequence: readonly number[],
  length: number = sequence.length,
): boolean {
  const offset = recent.length - length;
  for (let i = 0; i < length; i += 1) {
    if (recent[offset + i]?.id !== sequence[i]) {
      return false;
    }
  }
  return true;
}

/** How many of the last tokens are a beginning of the sequence. */
function openLength(
  recent: readonly { readonly id: number }[],
  sequence: readonly number[],
): number {
  for (let length = Math.min(recent.length, sequence.length - 1); length > 0; length -= 1) {
    if (endsWith(recent, sequence, length)) {
      return length;
    }
  }
  return 0;
}

/** How many of the last characters are a beginning of the string. */
function openSuffix(text: string, value: string): number {
  for (let length = Math.min(text.length, value.length - 1); length > 0; length -= 1) {
    if (text.endsWith(value.slice(0, length))) {
      return length;
    }
  }
  return 0;
}

function checkStops(sequences: readonly (readonly number[])[], strings: readonly string[]): void {
  for (const sequence of sequences) {
    const isValid = sequence.length > 0 && sequence.every((id) => Number.isInteger(id) && id >= 0);
    if (!isValid) {
      throw new GenerationError(
        "GENERATION_OPTION",
        `stop ids must be non-empty lists of integers from 0, got ${JSON.stringify(sequence)}`,
      );
    }
  }
  for (const value of strings) {
    if (typeof value !== "string" || value === "") {
      throw new GenerationError(
        "GENERATION_OPTION",
        `stop strings must be non-empty, got ${JSON.stringify(value)}`,
      );
    }
  }
}

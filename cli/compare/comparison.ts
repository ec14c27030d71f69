// Two outputs of one prompt: what they have in common, and what both models think where they part.
import { largest, type Tokenizer } from "../../runtime/index.ts";

export type Candidate = {
  readonly id: number;
  /** Bytes that are no whole characters as "<0xE4>" */
  readonly text: string;
  /** By model */
  readonly probabilities: readonly [number, number];
};

export type Parting = {
  /** Tokens before it */
  readonly position: number;
  /** What each model chose there */
  readonly chosen: readonly [Candidate, Candidate];
  /** The most likely of either model, the first model's likeliest first */
  readonly candidates: readonly Candidate[];
};

export type ComparedPrompt = {
  readonly prompt: string;
  readonly outputs: readonly [string, string];
  /** Of each output, an end of it included */
  readonly tokens: readonly [number, number];
  /** Of the outputs' common beginning */
  readonly commonTokens: number;
  readonly commonText: string;
  /** Null where nothing differs */
  readonly difference: Parting | null;
};

/** How many tokens two outputs begin with alike. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  const length = Math.min(a.length, b.length);
  let common = 0;
  while (common < length && a[common] === b[common]) common += 1;
  return common;
}

/** @param logProbabilities  of every token at that place, by model */
export function describeParting(
  tokenizer: Pick<Tokenizer, "bytesOf" | "vocabularySize">,
  outputs: readonly [readonly number[], readonly number[]],
  logProbabilities: readonly [Float32Array, Float32Array],
  top: number,
): Parting {
  const position = commonLength(...outputs);
  const known = logProbabilities.map((values) => values.subarray(0, tokenizer.vocabularySize));
  const candidate = (id: number): Candidate => ({
    id,
    text: tokenText(tokenizer, id),
    probabilities: [probability(known[0], id), probability(known[1], id)],
  });
  const ids = new Set(known.flatMap((values) => largest(values, top)));
  const [a = 0, b = 0] = outputs.map((output) => output[position]);
  const candidates = [...ids].map(candidate);
  return {
    position,
    chosen: [candidate(a), candidate(b)],
    candidates: candidates.sort((x, y) => y.probabilities[0] - x.probabilities[0]),
  };
}

function probability(logs: Float32Array | undefined, id: number): number {
  return Math.exp(logs?.[id] ?? Number.NEGATIVE_INFINITY);
}

/** A token may hold part of a character. */
function tokenText(tokenizer: Pick<Tokenizer, "bytesOf">, id: number): string {
  const bytes = tokenizer.bytesOf(id);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return Array.from(
      bytes,
      (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    ).join("");
  }
}

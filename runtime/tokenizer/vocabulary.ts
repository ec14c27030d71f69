// The `.tiktoken` file: one `base64(bytes) SPACE rank` per line, ranks from 0 without a gap.

import { readFileSync, statSync } from "node:fs";
import { shown } from "../checkpoint/index.ts";
import { TokenizerError } from "./errors.ts";

/** The real Qwen file is 2.6 MB; anything near this bound is not a vocabulary. */
const maxFileBytes = 64 * 1024 * 1024;
/** Strict: a non-canonical spelling could hide a duplicate token. */
const canonicalBase64 =
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/;

export type Vocabulary = {
  /** Number of ranks, and so of ordinary tokens. */
  readonly size: number;
  /** Longest token in bytes. */
  readonly longest: number;
  /** Base64 of each token, in the order of ranks. */
  readonly base64: readonly string[];
  /** @param rank 0 … size − 1, not checked. Returns a view that must not be written. */
  bytesOf(rank: number): Uint8Array;
};

/**
 * Reads and checks a `.tiktoken` file. Lines may end in LF or CRLF; empty lines are skipped.
 *
 * @throws TokenizerError TOKENIZER_NOT_FOUND, TOKENIZER_LFS_POINTER, TOKENIZER_VOCABULARY
 */
export function readVocabulary(path: string): Vocabulary {
  return parseVocabulary(readText(path), path);
}

/** `readVocabulary` on text already in memory; `path` is used in messages only. */
export function parseVocabulary(text: string, path: string): Vocabulary {
  if (text.startsWith("version https://git-lfs")) {
    throw new TokenizerError(
      "TOKENIZER_LFS_POINTER",
      `${path} is a Git LFS pointer, not the vocabulary itself; run "git lfs pull" in the model folder or download the file again`,
    );
  }
  const base64: string[] = [];
  const seen = new Set<string>();
  const lines = text.split("\n");
  for (const [index, raw] of lines.entries()) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === "") {
      continue;
    }
    const token = parseLine(line, base64.length, `${path}:${index + 1}`);
    if (seen.has(token)) {
      throw invalid(`${path}:${index + 1}: token ${token} stands in the file twice`);
    }
    seen.add(token);
    base64.push(token);
  }
  return buildVocabulary(base64, path);
}

function readText(path: string): string {
  try {
    const { size } = statSync(path);
    if (size <= maxFileBytes) {
      return readFileSync(path, "latin1");
    }
  } catch (cause) {
    throw new TokenizerError(
      "TOKENIZER_NOT_FOUND",
      `cannot read the vocabulary ${path}: ${cause instanceof Error ? cause.message : cause}; a Qwen model folder holds qwen.tiktoken beside config.json`,
      { cause },
    );
  }
  throw invalid(`${path} is larger than ${maxFileBytes} bytes; expected a tiktoken vocabulary`);
}

function parseLine(line: string, expectedRank: number, where: string): string {
  const space = line.indexOf(" ");
  const token = line.slice(0, Math.max(space, 0));
  const rank = line.slice(space + 1);
  if (token === "" || !canonicalBase64.test(token)) {
    throw invalid(`${where}: expected "base64 rank", got ${shown(line.slice(0, 60))}`);
  }
  if (rank !== String(expectedRank)) {
    throw invalid(
      `${where}: ranks must count up from 0 without a gap; expected ${expectedRank}, got ${shown(rank.slice(0, 20))}`,
    );
  }
  return token;
}

function buildVocabulary(base64: readonly string[], path: string): Vocabulary {
  const tokens = base64.map((token) => Buffer.from(token, "base64"));
  const bytes = Buffer.concat(tokens);
  const starts = new Uint32Array(tokens.length + 1);
  const singles = new Set<number>();
  let longest = 0;
  for (const [rank, token] of tokens.entries()) {
    starts[rank + 1] = (starts[rank] ?? 0) + token.length;
    longest = Math.max(longest, token.length);
    if (token.length === 1) {
      singles.add(token[0] ?? 0);
    }
  }
  if (singles.size !== 256) {
    throw invalid(
      `${path}: all 256 single bytes must be tokens, so that any text can be encoded; found ${singles.size} among ${tokens.length} tokens (is the file cut short?)`,
    );
  }
  return {
    size: tokens.length,
    longest,
    base64,
    bytesOf: (rank) => bytes.subarray(starts[rank], starts[rank + 1]),
  };
}

function invalid(message: string): TokenizerError {
  return new TokenizerError("TOKENIZER_VOCABULARY", message);
}

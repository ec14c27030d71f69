// JSON from files that strangers wrote: bounded in size, an object at the top, no key twice.

import type { CheckpointErrorCode } from "./errors.ts";
import { CheckpointError, shown } from "./errors.ts";
import { readRegularFile } from "./file-access.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [key: string]: JsonValue };

/** Far above any real config or index (72B: 200 kB), far below what would hurt to parse. */
const jsonFileLimit = 64 * 1024 * 1024;

/**
 * Reads a JSON file whose top level is an object.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND or CHECKPOINT_READ for the file, CHECKPOINT_LFS_POINTER, or `code` for what is in it
 */
export function readJsonFile(path: string, code: CheckpointErrorCode): JsonObject {
  const bytes = readRegularFile(path, jsonFileLimit, code);
  return parseJsonObject(decodeUtf8(bytes, path, code), path, code);
}

/**
 * Parses JSON whose top level is an object, refusing duplicate keys: `JSON.parse` would keep the last one
 * silently, and another reader might keep the first.
 */
export function parseJsonObject(text: string, file: string, code: CheckpointErrorCode): JsonObject {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (cause) {
    const reason = cause instanceof Error ? shown(cause.message) : "unknown error";
    throw new CheckpointError(code, `${file}: not valid JSON: ${reason}`, { cause });
  }
  if (!isJsonObject(value)) {
    throw new CheckpointError(code, `${file}: expected a JSON object, got ${shown(value)}`);
  }
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) {
    throw new CheckpointError(
      code,
      `${file}: key ${shown(duplicate)} appears twice in one JSON object; keep one of them`,
    );
  }
  return value;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function decodeUtf8(bytes: Uint8Array, file: string, code: CheckpointErrorCode): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(code, `${file}: JSON is not valid UTF-8`, { cause });
  }
}

/** Scans JSON already known to be valid, so only structure and strings matter. */
function findDuplicateKey(text: string): string | undefined {
  const scopes: KeyScope[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== '"') {
      enterOrLeave(scopes, text[at]);
      continue;
    }
    const end = closingQuote(text, at);
    const key = isFollowedByColon(text, end) ? decodeKey(text.slice(at, end + 1)) : undefined;
    if (key !== undefined && !isNew(scopes.at(-1), key)) return key;
    at = end;
  }
  return undefined;
}

/** The keys seen in one object; undefined stands for an array. */
type KeyScope = Set<string> | undefined;

function enterOrLeave(scopes: KeyScope[], char: string | undefined): void {
  if (char === "{") scopes.push(new Set());
  else if (char === "[") scopes.push(undefined);
  else if (char === "}" || char === "]") scopes.pop();
}

function isNew(keys: KeyScope, key: string): boolean {
  if (keys === undefined || keys.has(key)) return false;
  keys.add(key);
  return true;
}

function closingQuote(text: string, open: number): number {
  let at = open + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

function isFollowedByColon(text: string, quote: number): boolean {
  let at = quote + 1;
  while (text[at] === " " || text[at] === "\n" || text[at] === "\r" || text[at] === "\t") at++;
  return text[at] === ":";
}

/** Two spellings of one key, such as "a" and "\u0061", are the same key. */
function decodeKey(literal: string): string {
  return literal.includes("\\") ? (JSON.parse(literal) as string) : literal.slice(1, -1);
}

// Files read strictly: text is UTF-8 or an error that names the file, never replacement characters.

import { constants } from "node:buffer";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { CalibrationError } from "./errors.ts";

const chunkBytes = 1 << 20;

/** The whole file, without a byte-order mark. */
export function readTextFile(path: string): string {
  let text = "";
  for (const part of readParts(path)) {
    text = join(text, part, path);
  }
  return text;
}

/** Lines of a file of any size, without their line feeds, one chunk in memory at a time. */
export function* readLines(path: string): Generator<string> {
  let rest = "";
  for (const part of readParts(path)) {
    const [first = "", ...others] = part.split("\n");
    rest = join(rest, first, path);
    for (const line of others) {
      yield rest;
      rest = line;
    }
  }
  yield rest;
}

function join(text: string, part: string, path: string): string {
  if (text.length + part.length > constants.MAX_STRING_LENGTH) {
    throw new CalibrationError(
      "CALIBRATION_FORMAT",
      `${path}: more than ${constants.MAX_STRING_LENGTH} characters in one document; split it, or convert it to .jsonl, which is read row by row`,
    );
  }
  return text + part;
}

function* readParts(path: string): Generator<string> {
  const file = openFile(path);
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const decode = (bytes?: Uint8Array): string => {
      try {
        return decoder.decode(bytes, { stream: bytes !== undefined });
      } catch (cause) {
        throw binaryFile(path, "it is not valid UTF-8", cause);
      }
    };
    const chunk = new Uint8Array(chunkBytes);
    for (let read = readSync(file, chunk); read > 0; read = readSync(file, chunk)) {
      const bytes = chunk.subarray(0, read);
      if (bytes.includes(0)) {
        throw binaryFile(path, "it has zero bytes");
      }
      yield decode(bytes);
    }
    yield decode();
  } finally {
    closeSync(file);
  }
}

/**
 * Whether there is a file with something in it.
 *
 * @returns its size in bytes
 * @throws CalibrationError CALIBRATION_NOT_FOUND, CALIBRATION_EMPTY
 */
export function requireFile(path: string): number {
  const found = reading(path, () => statSync(path, { throwIfNoEntry: false }));
  if (found === undefined || !found.isFile()) {
    const why = found === undefined ? "no such file" : "not a file";
    throw new CalibrationError("CALIBRATION_NOT_FOUND", `${path}: ${why}`);
  }
  if (found.size === 0) {
    throw new CalibrationError("CALIBRATION_EMPTY", `${path}: the file is empty`);
  }
  return found.size;
}

function openFile(path: string): number {
  requireFile(path);
  return reading(path, () => openSync(path, "r"));
}

function reading<Result>(path: string, action: () => Result): Result {
  try {
    return action();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CalibrationError("CALIBRATION_NOT_FOUND", `${path}: cannot be read: ${reason}`, {
      cause,
    });
  }
}

function binaryFile(path: string, why: string, cause?: unknown): CalibrationError {
  return new CalibrationError(
    "CALIBRATION_FORMAT",
    `${path}: not a text file (${why}); expected UTF-8 text`,
    { cause },
  );
}

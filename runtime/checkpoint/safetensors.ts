// The safetensors format: 8 bytes little-endian header length, a JSON header, then the tensors without gaps.
// Everything in a header is untrusted until `readSafetensorsHeader` returned.
// See https://github.com/huggingface/safetensors (README, "Format"; limits as in safetensors/src/tensor.rs).

import { resolve } from "node:path";
import {
  isFileSize,
  isStoredDtype,
  supportedDtypes,
  type TensorSpec,
  tensorBytes,
} from "./dtype.ts";
import { CheckpointError, shown } from "./errors.ts";
import { readExactly, refuseLfsPointer, withFile } from "./file-access.ts";
import { decodeUtf8, isJsonObject, type JsonValue, parseJsonObject } from "./json.ts";
import type { TensorEntry, TensorFile } from "./tensor-file.ts";

export type EncodedHeader = {
  /** Length prefix and JSON, padded with spaces so that tensor data starts 8-aligned. */
  readonly header: Uint8Array;
  /** Byte offsets in the file, by tensor name. */
  readonly offsets: ReadonlyMap<string, { readonly begin: number; readonly end: number }>;
  readonly fileBytes: number;
};

const prefixBytes = 8;
/** The limit of the reference implementation. */
const headerLimitBytes = 100_000_000;
const metadataKey = "__metadata__";

/**
 * Reads and validates the header of a safetensors file; tensor bytes are not touched.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND, CHECKPOINT_READ, CHECKPOINT_LFS_POINTER, CHECKPOINT_TRUNCATED,
 *   CHECKPOINT_HEADER for a broken header, CHECKPOINT_UNSUPPORTED for a dtype outside StoredDtype
 */
export function readSafetensorsHeader(path: string): TensorFile {
  const file = resolve(path);
  const { text, dataBegin, fileBytes } = readHeaderText(file);
  const header = parseJsonObject(text, file, "CHECKPOINT_HEADER");
  const tensors = new Map<string, TensorEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of Object.entries(header)) {
    if (name === metadataKey) metadata = parseMetadata(value, file);
    else tensors.set(name, parseEntry(name, value, { file, dataBegin }));
  }
  requireGapless([...tensors.values()], { file, dataBegin, fileBytes });
  return { path: file, metadata, tensors };
}

/**
 * Encodes the header of a file that will hold `entries` in the given order without gaps.
 *
 * @throws CheckpointError CHECKPOINT_WRITE for a duplicate or reserved name, a bad shape or an oversized header
 */
export function encodeHeader(
  entries: readonly TensorSpec[],
  metadata: ReadonlyMap<string, string>,
): EncodedHeader {
  // Members are joined by hand: an object literal would treat the name "__proto__" specially.
  const members = [`"${metadataKey}":${JSON.stringify(Object.fromEntries(metadata))}`];
  const ranges = new Map<string, { begin: number; end: number }>();
  let begin = 0;
  for (const entry of entries) {
    const end = begin + tensorBytes(entry, "output", "CHECKPOINT_WRITE");
    if (!Number.isSafeInteger(end)) throw writeError(entry.name, "passes 2^53 bytes of file");
    if (entry.name === metadataKey) throw writeError(entry.name, "has a reserved name");
    if (ranges.has(entry.name)) throw writeError(entry.name, "is listed twice");
    ranges.set(entry.name, { begin, end });
    const value = { dtype: entry.dtype, shape: entry.shape, data_offsets: [begin, end] };
    members.push(`${JSON.stringify(entry.name)}:${JSON.stringify(value)}`);
    begin = end;
  }
  const header = framed(`{${members.join(",")}}`);
  const offsets = new Map(
    [...ranges].map(([name, range]) => [
      name,
      { begin: header.byteLength + range.begin, end: header.byteLength + range.end },
    ]),
  );
  return { header, offsets, fileBytes: header.byteLength + begin };
}

function framed(json: string): Uint8Array {
  const text = Buffer.from(json, "utf8");
  const padded = Math.ceil(text.byteLength / 8) * 8;
  if (padded > headerLimitBytes) {
    throw new CheckpointError(
      "CHECKPOINT_WRITE",
      `header would have ${padded} bytes; the format allows ${headerLimitBytes}: write more shards`,
    );
  }
  const header = new Uint8Array(prefixBytes + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(text, prefixBytes);
  return header;
}

function readHeaderText(file: string): { text: string; dataBegin: number; fileBytes: number } {
  return withFile(file, (fd, fileBytes) => {
    const head = new Uint8Array(Math.min(fileBytes, 64));
    readExactly(fd, head, 0, file);
    refuseLfsPointer(head, file);
    const bytes = new Uint8Array(headerLength(head, fileBytes, file));
    readExactly(fd, bytes, prefixBytes, file);
    if (bytes[0] !== 0x7b) {
      throw new CheckpointError(
        "CHECKPOINT_HEADER",
        `${file}: header does not start with "{"; this is not a safetensors file`,
      );
    }
    const text = decodeUtf8(bytes, file, "CHECKPOINT_HEADER");
    return { text, dataBegin: prefixBytes + bytes.byteLength, fileBytes };
  });
}

function headerLength(head: Uint8Array, fileBytes: number, file: string): number {
  if (head.byteLength < prefixBytes) {
    throw new CheckpointError(
      "CHECKPOINT_TRUNCATED",
      `${file}: file has ${fileBytes} bytes, a safetensors file at least ${prefixBytes}; download it again`,
    );
  }
  const length = new DataView(head.buffer).getBigUint64(0, true);
  if (length > BigInt(headerLimitBytes)) {
    throw new CheckpointError(
      "CHECKPOINT_HEADER",
      `${file}: header length ${length} passes the limit of ${headerLimitBytes} bytes; this is not a safetensors file, or it is corrupt`,
    );
  }
  if (prefixBytes + Number(length) > fileBytes) {
    throw new CheckpointError(
      "CHECKPOINT_TRUNCATED",
      `${file}: header needs ${length} bytes after the first ${prefixBytes}, but the file has ${fileBytes} in all; download it again`,
    );
  }
  return Number(length);
}

function parseMetadata(value: JsonValue, file: string): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  if (!isJsonObject(value)) throw headerError(file, metadataKey, "must be an object", value);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw headerError(file, `${metadataKey}.${key}`, "must be a string", text);
    }
    metadata.set(key, text);
  }
  return metadata;
}

function parseEntry(
  name: string,
  value: JsonValue,
  place: { readonly file: string; readonly dataBegin: number },
): TensorEntry {
  const { file, dataBegin } = place;
  if (!isJsonObject(value)) throw headerError(file, name, "must be an object", value);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") throw headerError(file, name, "dtype must be a string", dtype);
  if (!isStoredDtype(dtype)) {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${file}: tensor ${shown(name)} has dtype ${shown(dtype)}; supported are ${supportedDtypes()}`,
    );
  }
  // tensorBytes checks every dimension, so the element type of `shape` is only assumed until the next line.
  if (!Array.isArray(shape)) throw headerError(file, name, "shape must be an array", shape);
  const spec: TensorSpec = { name, dtype, shape: shape as readonly number[] };
  const bytes = tensorBytes(spec, file, "CHECKPOINT_HEADER");
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isFileSize)) {
    throw headerError(file, name, "data_offsets must be two non-negative integers", offsets);
  }
  const [begin = 0, end = 0] = offsets as readonly number[];
  if (end < begin || end - begin !== bytes) {
    throw headerError(
      file,
      name,
      `data_offsets must span ${bytes} bytes (shape ${shown(shape)}, ${dtype})`,
      offsets,
    );
  }
  return { ...spec, file, begin: dataBegin + begin, end: dataBegin + end };
}

type Extent = { readonly file: string; readonly dataBegin: number; readonly fileBytes: number };

/** The format has neither gaps, where something could hide, nor overlaps, nor bytes after the last tensor. */
function requireGapless(tensors: TensorEntry[], extent: Extent): void {
  const { file, dataBegin, fileBytes } = extent;
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let expected = dataBegin;
  for (const { name, begin, end } of tensors) {
    if (begin !== expected) {
      const problem = begin < expected ? "overlaps the tensor before it" : "leaves a gap before it";
      throw new CheckpointError(
        "CHECKPOINT_HEADER",
        `${file}: tensor ${shown(name)} ${problem}: starts at data byte ${begin - dataBegin}, expected ${expected - dataBegin}`,
      );
    }
    expected = end;
  }
  if (expected > fileBytes) {
    throw new CheckpointError(
      "CHECKPOINT_TRUNCATED",
      `${file}: file has ${fileBytes} bytes, its header describes ${expected}; download it again`,
    );
  }
  if (expected < fileBytes) {
    throw new CheckpointError(
      "CHECKPOINT_HEADER",
      `${file}: ${fileBytes - expected} bytes after the last tensor belong to no tensor`,
    );
  }
}

function headerError(
  file: string,
  name: string,
  problem: string,
  got: JsonValue | undefined,
): CheckpointError {
  return new CheckpointError(
    "CHECKPOINT_HEADER",
    `${file}: header entry ${shown(name)}: ${problem}, got ${shown(got)}`,
  );
}

function writeError(name: string, problem: string): CheckpointError {
  return new CheckpointError("CHECKPOINT_WRITE", `output: tensor ${shown(name)} ${problem}`);
}

// Ready-made segments: a `.safetensors` file with `input_ids`, I32 or I64. Either [count, length], or [tokens] with `lengths`
// [count] for segments of different lengths; then also, where not all tokens count, `mask` U8 [tokens].

import { readFileSync, statSync } from "node:fs";
import { writeFileAtomic } from "../runtime/index.ts";
import { CalibrationError } from "./errors.ts";
import type { Segments } from "./segments.ts";

/** The file is read whole; 1 GiB holds 130,000 segments of 2,048 tokens. */
const maxFileBytes = 2 ** 30;
const maxHeaderBytes = 100_000_000; // the format's own limit
const lengthBytes = 8;
const elementBytes = { I64: 8, I32: 4, U8: 1 } as const;

type Dtype = keyof typeof elementBytes;

/**
 * Reads segments as they stand, in order.
 *
 * @throws CalibrationError CALIBRATION_NOT_FOUND, or CALIBRATION_FORMAT if the file is not such a file
 */
export function readSegmentsFile(path: string): Segments {
  const file = SafetensorsFile.open(path);
  const input = file.require("input_ids", ["I32", "I64"]);
  const ids = file.integers("input_ids", input);
  const lengths = lengthsOf(file, input.shape);
  const mask = input.shape.length === 1 ? file.find("mask", ["U8"]) : undefined;
  if (mask !== undefined && mask.body.length !== ids.length) {
    throw formatError(path, `mask has ${mask.body.length} elements, input_ids ${ids.length}`);
  }
  const cut = <T>(slice: (start: number, end: number) => T): T[] => {
    let end = 0;
    return lengths.map((length) => {
      end += length;
      return slice(end - length, end);
    });
  };
  const ones = mask && Uint8Array.from(mask.body, (counts) => (counts === 0 ? 0 : 1));
  return {
    ids: cut((start, end) => ids.slice(start, end)),
    ...(ones === undefined ? {} : { masks: cut((start, end) => ones.slice(start, end)) }),
    tokens: ids.length,
    counted: ones === undefined ? ids.length : ones.reduce((sum, counts) => sum + counts, 0),
    documentsUsed: lengths.length,
    sources: [],
  };
}

/**
 * Writes segments, with what of them counts, for `readSegmentsFile`.
 *
 * @throws CalibrationError CALIBRATION_OPTION if they are too many for such a file; CheckpointError CHECKPOINT_WRITE
 */
export function writeSegmentsFile(path: string, { ids, masks, tokens }: Segments): void {
  const parts: Readonly<Record<string, { readonly dtype: Dtype; readonly rows: readonly Part[] }>> =
    {
      input_ids: { dtype: "I32", rows: ids },
      lengths: { dtype: "I32", rows: [Int32Array.from(ids, ({ length }) => length)] },
      ...(masks === undefined ? {} : { mask: { dtype: "U8", rows: masks } }),
    };
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, { dtype, rows }] of Object.entries(parts)) {
    const elements = rows.reduce((sum, { length }) => sum + length, 0);
    const begin = end;
    end += elements * elementBytes[dtype];
    header[name] = { dtype, shape: [elements], data_offsets: [begin, end] };
  }
  if (end > maxFileBytes / 2) {
    throw new CalibrationError(
      "CALIBRATION_OPTION",
      `${path}: ${tokens} tokens are too many for a file of segments`,
    );
  }
  const json = JSON.stringify(header);
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / lengthBytes) * lengthBytes));
  const prefix = Buffer.alloc(lengthBytes);
  prefix.writeBigUInt64LE(BigInt(text.length));
  const bodies = Object.values(parts).flatMap(({ rows }) => rows.map(bytesOf));
  writeFileAtomic(path, Buffer.concat([prefix, text, ...bodies]));
}

type Part = Int32Array | Uint8Array;

function bytesOf(part: Part): Uint8Array {
  return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
}

function lengthsOf(file: SafetensorsFile, shape: readonly number[]): readonly number[] {
  const { path } = file;
  const [first = 0, second] = shape;
  if (second !== undefined) {
    if (shape.length > 2 || first < 1 || second < 2) {
      throw formatError(path, `input_ids must be [count, length], got ${JSON.stringify(shape)}`);
    }
    return new Array<number>(first).fill(second);
  }
  const entry = file.find("lengths", ["I32", "I64"]);
  if (entry === undefined) {
    throw formatError(path, "input_ids must be [count, length], or [tokens] with a tensor lengths");
  }
  const lengths = [...file.integers("lengths", entry)];
  const short = lengths.findIndex((length) => length < 2);
  if (lengths.length === 0 || short >= 0) {
    throw formatError(
      path,
      `a segment must have at least 2 tokens, lengths[${short}] is ${lengths[short]}`,
    );
  }
  const sum = lengths.reduce((total, length) => total + length, 0);
  if (sum !== first) throw formatError(path, `lengths add up to ${sum}, input_ids has ${first}`);
  return lengths;
}

type Entry = {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly body: Uint8Array;
};

class SafetensorsFile {
  readonly path: string;
  readonly #header: Readonly<Record<string, unknown>>;
  readonly #body: Uint8Array;

  private constructor(path: string, header: Readonly<Record<string, unknown>>, body: Uint8Array) {
    this.path = path;
    this.#header = header;
    this.#body = body;
  }

  static open(path: string): SafetensorsFile {
    const file = readFile(path);
    const headerBytes = file.length < lengthBytes ? -1n : file.readBigUInt64LE(0);
    const limit = Math.min(maxHeaderBytes, file.length - lengthBytes);
    if (headerBytes < 2n || headerBytes > BigInt(Math.max(limit, 0))) {
      throw formatError(path, `header length ${headerBytes} does not fit ${file.length} bytes`);
    }
    const bodyStart = lengthBytes + Number(headerBytes);
    let header: unknown;
    try {
      header = JSON.parse(file.toString("utf8", lengthBytes, bodyStart));
    } catch (cause) {
      throw formatError(path, "the header is not JSON", cause);
    }
    return new SafetensorsFile(path, isTable(header) ? header : {}, file.subarray(bodyStart));
  }

  require(name: string, dtypes: readonly Dtype[]): Entry {
    const entry = this.find(name, dtypes);
    if (entry === undefined) throw formatError(this.path, `no tensor ${name}`);
    return entry;
  }

  /** A tensor of one or two dimensions, or undefined if there is none of this name. */
  find(name: string, dtypes: readonly Dtype[]): Entry | undefined {
    const entry = Object.hasOwn(this.#header, name) ? this.#header[name] : undefined;
    if (!isTable(entry)) return undefined;
    const { dtype: stored, shape, data_offsets: offsets } = entry;
    const dtype = dtypes.find((one) => one === stored);
    if (dtype === undefined) {
      throw formatError(
        this.path,
        `${name} must be ${dtypes.join(" or ")}, got ${JSON.stringify(stored)}`,
      );
    }
    if (!isSizes(shape) || shape.length < 1 || shape.length > 2) {
      throw formatError(
        this.path,
        `${name} must have one or two dimensions, got ${JSON.stringify(shape)}`,
      );
    }
    const bytes = shape.reduce((product, size) => product * size, elementBytes[dtype]);
    const [begin = 0, end = 0] = isSizes(offsets) && offsets.length === 2 ? offsets : [0, -1];
    if (end > this.#body.length || end - begin !== bytes) {
      throw formatError(
        this.path,
        `${name} ${JSON.stringify(shape)} ${dtype} needs ${bytes} bytes; offsets ${JSON.stringify(offsets)} do not give them`,
      );
    }
    return { dtype, shape, body: this.#body.subarray(begin, end) };
  }

  /** Elements of a tensor, each from 0 to 2³¹ - 1. */
  integers(name: string, { dtype, shape, body }: Entry): Int32Array {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const length = body.length / elementBytes[dtype];
    return Int32Array.from({ length }, (_, i) => {
      const value =
        dtype === "I64" ? Number(view.getBigInt64(8 * i, true)) : view.getInt32(4 * i, true);
      if (value >= 0 && value <= 0x7fffffff) return value;
      const [, width] = shape;
      const at = width === undefined ? `${i}` : `${Math.floor(i / width)}, ${i % width}`;
      const what = name === "input_ids" ? "token id" : name;
      throw formatError(this.path, `${what} ${value} at [${at}] is out of range`);
    });
  }
}

function readFile(path: string): Buffer {
  let size: number;
  try {
    ({ size } = statSync(path));
    if (size <= maxFileBytes) {
      return readFileSync(path);
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CalibrationError("CALIBRATION_NOT_FOUND", `cannot read ${path}: ${reason}`, {
      cause,
    });
  }
  throw formatError(path, `${size} bytes are more than the limit of ${maxFileBytes}`);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((entry) => Number.isSafeInteger(entry) && entry >= 0);
}

function formatError(path: string, why: string, cause?: unknown): CalibrationError {
  return new CalibrationError("CALIBRATION_FORMAT", `${path}: not a segments file: ${why}`, {
    cause,
  });
}

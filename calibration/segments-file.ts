// Ready-made segments: a `.safetensors` file with `input_ids`, I32 or I64, [count, length].

import { readFileSync, statSync } from "node:fs";
import { CalibrationError } from "./errors.ts";
import type { Segments } from "./segments.ts";

/** The file is read whole; 1 GiB holds 130,000 segments of 2,048 tokens. */
const maxFileBytes = 2 ** 30;
const maxHeaderBytes = 100_000_000; // the format's own limit
const lengthBytes = 8;

/**
 * Reads segments as they stand, in order.
 *
 * @throws CalibrationError CALIBRATION_NOT_FOUND, or CALIBRATION_FORMAT if the file is not such a file
 */
export function readSegmentsFile(path: string): Segments {
  const file = readFile(path);
  const { body, dtype, shape } = readInputIds(file, path);
  const [count, length] = shape;
  const width = dtype === "I64" ? 8 : 4;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const ids = Array.from({ length: count }, (_, row) =>
    Int32Array.from({ length }, (__, column) => {
      const at = (row * length + column) * width;
      const id = width === 8 ? Number(view.getBigInt64(at, true)) : view.getInt32(at, true);
      if (id < 0 || id > 0x7fffffff) {
        throw formatError(path, `token id ${id} at [${row}, ${column}] is out of range`);
      }
      return id;
    }),
  );
  const tokens = count * length;
  return { ids, tokens, counted: tokens, documentsUsed: count, sources: [] };
}

type InputIds = {
  readonly dtype: "I32" | "I64";
  readonly shape: readonly [count: number, length: number];
  readonly body: Uint8Array;
};

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

function readInputIds(file: Buffer, path: string): InputIds {
  const headerBytes = file.length < lengthBytes ? -1n : file.readBigUInt64LE(0);
  const limit = Math.min(maxHeaderBytes, file.length - lengthBytes);
  if (headerBytes < 2n || headerBytes > BigInt(Math.max(limit, 0))) {
    throw formatError(path, `header length ${headerBytes} does not fit ${file.length} bytes`);
  }
  const bodyStart = lengthBytes + Number(headerBytes);
  const entry = readEntry(file, bodyStart, path);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (dtype !== "I32" && dtype !== "I64") {
    throw formatError(path, `input_ids must be I32 or I64, got ${JSON.stringify(dtype)}`);
  }
  if (!isPair(shape) || shape[0] < 1 || shape[1] < 2) {
    throw formatError(path, `input_ids must be [count, length], got ${JSON.stringify(shape)}`);
  }
  const bytes = shape[0] * shape[1] * (dtype === "I64" ? 8 : 4);
  const isInside = isPair(offsets) && offsets[1] <= file.length - bodyStart;
  if (!isInside || offsets[1] - offsets[0] !== bytes) {
    throw formatError(
      path,
      `input_ids ${JSON.stringify(shape)} ${dtype} needs ${bytes} bytes; offsets ${JSON.stringify(offsets)} do not give them`,
    );
  }
  const body = file.subarray(bodyStart + offsets[0], bodyStart + offsets[1]);
  return { dtype, shape, body };
}

function readEntry(file: Buffer, bodyStart: number, path: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(file.toString("utf8", lengthBytes, bodyStart));
  } catch (cause) {
    throw formatError(path, "the header is not JSON", cause);
  }
  const entry = isTable(header) ? header["input_ids"] : undefined;
  if (!isTable(entry)) {
    throw formatError(path, "no tensor input_ids");
  }
  return entry;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isPair(value: unknown): value is [number, number] {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    value.every((entry) => Number.isSafeInteger(entry) && entry >= 0)
  );
}

function formatError(path: string, why: string, cause?: unknown): CalibrationError {
  return new CalibrationError("CALIBRATION_FORMAT", `${path}: not a segments file: ${why}`, {
    cause,
  });
}

// One value of an Arrow column as plain data. The library's own accessors trust the offsets in a file; these do not.

import { type Data, Type } from "apache-arrow";
import { CalibrationError } from "../errors.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * @param column  as read from a file, so that its first element is element 0
 * @returns a string, number, array, object or null
 * @throws CalibrationError CALIBRATION_ROW on a type that holds no text, messages or ids; CALIBRATION_FORMAT on an
 *   offset or a length that leaves the data, or text that is not UTF-8
 */
export function columnValue(column: Data | undefined, index: number, where: string): unknown {
  if (column === undefined || index >= column.length) {
    throw damaged(where, `has no element ${index}`);
  }
  if (column.typeId === Type.Null || isNull(column, index)) return null;
  switch (column.typeId) {
    case Type.Utf8:
    case Type.LargeUtf8:
      return textValue(column, index, where);
    case Type.List:
    case Type.LargeList: {
      const { start, end } = range(column, index, where);
      return elements(column, start, end, where);
    }
    case Type.FixedSizeList: {
      const size = Number(column.stride);
      return elements(column, index * size, (index + 1) * size, where);
    }
    case Type.Struct:
      return Object.fromEntries(
        column.type.children.map(({ name }: { readonly name: string }, child: number) => [
          name,
          columnValue(column.children[child], index, `${where}.${name}`),
        ]),
      );
    case Type.Int:
      return integerValue(column, index, where);
    default:
      throw new CalibrationError(
        "CALIBRATION_ROW",
        `${where}: the type ${column.type} is not supported; expected text, a list of messages, or a list of ids`,
      );
  }
}

/** A bit per element, absent where none is null. */
function isNull(column: Data, index: number): boolean {
  const bits = column.nullBitmap;
  if (bits === undefined || bits.length === 0) return false;
  return (((bits[index >> 3] ?? 0) >> (index & 7)) & 1) === 0;
}

function range(column: Data, index: number, where: string): { start: number; end: number } {
  const offsets = column.valueOffsets as Int32Array | BigInt64Array | undefined;
  const [start, end] = [offsets?.[index], offsets?.[index + 1]].map(Number);
  if (start === undefined || end === undefined || !(start >= 0 && end >= start)) {
    throw damaged(where, `has the offsets ${start} and ${end}`);
  }
  return { start, end };
}

function textValue(column: Data, index: number, where: string): string {
  const { start, end } = range(column, index, where);
  const bytes = column.values as Uint8Array;
  if (end > bytes.length) throw damaged(where, `ends at byte ${end} of ${bytes.length}`);
  try {
    return utf8.decode(bytes.subarray(start, end));
  } catch (cause) {
    throw damaged(where, "is not valid UTF-8", cause);
  }
}

function elements(column: Data, start: number, end: number, where: string): unknown[] {
  const [child] = column.children;
  if (child === undefined || end > child.length) {
    throw damaged(where, `ends at element ${end} of ${child?.length ?? 0}`);
  }
  return Array.from({ length: end - start }, (_, i) =>
    columnValue(child, start + i, `${where}[${i}]`),
  );
}

function integerValue(column: Data, index: number, where: string): number {
  const values = column.values as ArrayLike<number | bigint>;
  const value = values[index];
  if (value === undefined) throw damaged(where, `has no element ${index}`);
  return Number(value);
}

function damaged(where: string, why: string, cause?: unknown): CalibrationError {
  return new CalibrationError("CALIBRATION_FORMAT", `${where}: the file is damaged: it ${why}`, {
    cause,
  });
}

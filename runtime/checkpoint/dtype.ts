// Element types of stored tensors, and the byte counts that follow. Every product is checked: shapes come from files.

import type { CheckpointErrorCode } from "./errors.ts";
import { CheckpointError, shown } from "./errors.ts";

const bytesPerElement = { BF16: 2, F16: 2, F32: 4, I32: 4, I64: 8, U8: 1 } as const;

/** Element types this toolkit reads and writes, in the spelling of safetensors. */
export type StoredDtype = keyof typeof bytesPerElement;

/** What is needed to lay a tensor out in a file. */
export type TensorSpec = {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
};

/** More dimensions than any tensor of a language model has. */
const maxRank = 16;

/** @returns bytes per element */
export function dtypeBytes(dtype: StoredDtype): number {
  return bytesPerElement[dtype];
}

export function isStoredDtype(value: unknown): value is StoredDtype {
  return typeof value === "string" && Object.hasOwn(bytesPerElement, value);
}

export function supportedDtypes(): string {
  return Object.keys(bytesPerElement).join(", ");
}

/**
 * @returns bytes of a dense tensor
 * @throws CheckpointError `code` if a dimension is not a non-negative integer or a product passes 2^53
 */
export function tensorBytes(spec: TensorSpec, file: string, code: CheckpointErrorCode): number {
  const where = `${file}: tensor ${shown(spec.name)}`;
  if (spec.shape.length > maxRank) {
    throw new CheckpointError(
      code,
      `${where}: ${spec.shape.length} dimensions; expected at most ${maxRank}`,
    );
  }
  let bytes = dtypeBytes(spec.dtype);
  for (const size of spec.shape) {
    if (!isFileSize(size)) {
      throw new CheckpointError(
        code,
        `${where}: shape must hold non-negative integers below 2^53, got ${shown(spec.shape)}`,
      );
    }
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) {
      throw new CheckpointError(
        code,
        `${where}: shape ${shown(spec.shape)} has more than 2^53 bytes`,
      );
    }
  }
  return bytes;
}

/** A number from a file that can be a length or an offset: exact, and not negative. */
export function isFileSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

// The messages of an Arrow file or stream, checked before the library reads them.

import type { FileHandle } from "node:fs/promises";
import { checkIndex, checkMetadata } from "./arrow-metadata.ts";

const magic = "ARROW1";
const wordBytes = 4;
/** Says that the length follows; without it the length is there already (before Arrow 0.15). */
const continuation = -1;

/**
 * Checks all messages, metadata only, so far that decoding them cannot take more than their size.
 *
 * @param size  of the file in bytes
 * @throws RangeError on a file that ends too early, or metadata that cannot be true
 */
export async function checkMessages(file: FileHandle, size: number): Promise<void> {
  if (await isIndexed(file, size)) {
    const end = size - magic.length - wordBytes;
    const length = await readWord(file, end);
    if (length < 0 || length > end) throw new RangeError(`an index of ${length} bytes of ${size}`);
    for (const position of checkIndex(await readBytes(file, end - length, length))) {
      await checkMessage(file, position, size);
    }
    return;
  }
  // A stream ends with a mark, or simply ends.
  let position: number | undefined = 0;
  while (position !== undefined && position < size) {
    position = await checkMessage(file, position, size);
  }
}

/** @returns where the next message begins, undefined at the mark of the end */
async function checkMessage(
  file: FileHandle,
  begin: number,
  size: number,
): Promise<number | undefined> {
  if (begin < 0 || begin > size - wordBytes) throw new RangeError(`a message at byte ${begin}`);
  const first = await readWord(file, begin);
  const hasPrefix = first === continuation;
  const length = hasPrefix ? await readWord(file, begin + wordBytes) : first;
  if (length === 0) return undefined;
  const start = begin + (hasPrefix ? 2 : 1) * wordBytes;
  if (length < 0 || length > size - start) {
    throw new RangeError(`a message of ${length} bytes at byte ${start} of ${size}`);
  }
  const bodyBytes = checkMetadata(await readBytes(file, start, length));
  const end = start + length + bodyBytes;
  if (bodyBytes < 0 || end > size) {
    throw new RangeError(`a batch of ${bodyBytes} bytes at byte ${start + length} of ${size}`);
  }
  return end;
}

async function isIndexed(file: FileHandle, size: number): Promise<boolean> {
  const isMagic = async (position: number): Promise<boolean> => {
    const bytes = await readBytes(file, position, magic.length);
    return String.fromCharCode(...bytes) === magic;
  };
  if (size < 3 * magic.length || !(await isMagic(0))) return false;
  if (await isMagic(size - magic.length)) return true;
  throw new RangeError("the end of the file is missing");
}

async function readWord(file: FileHandle, position: number): Promise<number> {
  const bytes = await readBytes(file, position, wordBytes);
  return new DataView(bytes.buffer).getInt32(0, true);
}

async function readBytes(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw new RangeError(`the file ends at byte ${position + done}`);
    done += bytesRead;
  }
  return bytes;
}

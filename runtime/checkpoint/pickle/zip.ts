// The zip container of torch.save: every record stored as it is, so that a tensor is a range of the file.
// See PKWARE's APPNOTE.TXT 4.3 (records) and 4.5.3 (zip64), and caffe2/serialize/inline_container.cc for what PyTorch writes.

import { CheckpointError, shown } from "../errors.ts";
import { readExactly } from "../file-access.ts";

/** Byte offsets in the file. */
export type ByteRange = { readonly begin: number; readonly end: number };

type Archive = { readonly fd: number; readonly size: number; readonly file: string };
type Directory = ByteRange & { readonly count: number };
/** A row of the central directory. */
type Row = { readonly name: string; readonly header: number; readonly bytes: number };

const endBytes = 22;
const end64Bytes = 56;
const locatorBytes = 20;
const rowBytes = 46;
const localBytes = 30;
const sentinel = 0xffff_ffff;
/** A 72B model has a thousand records, with names of some 20 bytes. */
const countLimit = 20_000;
const directoryLimitBytes = 8 * 1024 * 1024;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Finds the records of a zip file that is wholly described by its central directory: no comment, no second disk, no
 * compression or encryption, no record twice, none inside another.
 *
 * @returns where the bytes of each record lie, by its name
 * @throws CheckpointError CHECKPOINT_TRUNCATED if the file ends in no directory, CHECKPOINT_UNSUPPORTED for compressed
 *   or encrypted records, CHECKPOINT_HEADER for everything that contradicts itself
 */
export function readZipRecords(archive: Archive): ReadonlyMap<string, ByteRange> {
  const directory = findDirectory(archive);
  const rows = readRows(archive, directory);
  const records = new Map<string, ByteRange>();
  let free = 0;
  for (const row of rows.sort((a, b) => a.header - b.header)) {
    if (row.header < free) throw broken(archive, `record ${shown(row.name)} overlaps another`);
    const range = locate(archive, row, directory.begin);
    if (records.has(row.name)) throw broken(archive, `record ${shown(row.name)} appears twice`);
    records.set(row.name, range);
    free = range.end;
  }
  return records;
}

function findDirectory(archive: Archive): Directory {
  const { size } = archive;
  const tail = read(archive, Math.max(0, size - endBytes - locatorBytes - end64Bytes), size);
  const end = tail.byteLength - endBytes;
  if (end < 0 || tail.getUint32(end, true) !== 0x06054b50 || tail.getUint16(end + 20, true) !== 0) {
    throw new CheckpointError(
      "CHECKPOINT_TRUNCATED",
      `${archive.file}: starts as a zip file but does not end in a zip directory; download it again`,
    );
  }
  const locator = end - locatorBytes;
  const isZip64 = locator >= 0 && tail.getUint32(locator, true) === 0x07064b50;
  const directory = isZip64 ? zip64Directory(archive, tail) : undefined;
  const short = {
    count: tail.getUint16(end + 10, true),
    bytes: tail.getUint32(end + 12, true),
    begin: tail.getUint32(end + 16, true),
  };
  const { begin, end: stop, count } = directory ?? { ...short, end: short.begin + short.bytes };
  const agrees =
    tail.getUint32(end + 4, true) === 0 && // one disk
    tail.getUint16(end + 8, true) === short.count &&
    (directory === undefined ||
      (isShort(short.count, count, 0xffff) &&
        isShort(short.bytes, stop - begin, sentinel) &&
        isShort(short.begin, begin, sentinel)));
  const expectedStop = size - tail.byteLength + (isZip64 ? locator - end64Bytes : end);
  if (!agrees || stop !== expectedStop || begin > stop) {
    throw broken(archive, "the end of its zip directory contradicts the directory's place");
  }
  if (count > countLimit || stop - begin > directoryLimitBytes) {
    throw broken(
      archive,
      `its zip directory has ${count} records in ${stop - begin} bytes; expected at most ${countLimit} in ${directoryLimitBytes}`,
    );
  }
  return { begin, end: stop, count };
}

/** A 32-bit field beside a 64-bit one holds the same number, or all ones. */
function isShort(short: number, long: number, ones: number): boolean {
  return short === ones || short === long;
}

function zip64Directory(archive: Archive, tail: DataView): Directory {
  const at = tail.byteLength - endBytes - locatorBytes - end64Bytes;
  const locator = at + end64Bytes;
  const isPlain =
    at === 0 &&
    tail.getUint32(at, true) === 0x06064b50 &&
    tail.getBigUint64(at + 4, true) === BigInt(end64Bytes - 12) &&
    tail.getBigUint64(at + 16, true) === 0n && // one disk
    tail.getBigUint64(locator + 8, true) === BigInt(archive.size - tail.byteLength);
  if (!isPlain) throw broken(archive, "its zip64 directory record is not where the locator says");
  const count = long(archive, tail, at + 32);
  if (long(archive, tail, at + 24) !== count) throw broken(archive, "is split over several disks");
  const begin = long(archive, tail, at + 48);
  return { begin, end: begin + long(archive, tail, at + 40), count };
}

function readRows(archive: Archive, directory: Directory): Row[] {
  const view = read(archive, directory.begin, directory.end);
  const rows: Row[] = [];
  let at = 0;
  for (let i = 0; i < directory.count; i++) {
    if (at + rowBytes > view.byteLength || view.getUint32(at, true) !== 0x02014b50) {
      throw broken(archive, `row ${i} of ${directory.count} of its zip directory is missing`);
    }
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      view.getUint16(at + field, true),
    ) as [number, number, number];
    const next = at + rowBytes + nameBytes + extraBytes + commentBytes;
    if (next > view.byteLength) throw broken(archive, `row ${i} of its zip directory is cut`);
    rows.push(parseRow(archive, view, at));
    at = next;
  }
  if (at !== view.byteLength) throw broken(archive, "its zip directory has rows it does not count");
  return rows;
}

function parseRow(archive: Archive, view: DataView, at: number): Row {
  const nameBytes = view.getUint16(at + 28, true);
  const name = decodeName(archive, view, at + rowBytes, nameBytes);
  requirePlain(archive, name, {
    flags: view.getUint16(at + 8, true),
    method: view.getUint16(at + 10, true),
  });
  const extra = { begin: at + rowBytes + nameBytes, bytes: view.getUint16(at + 30, true) };
  const wide = wideFields(archive, view, extra);
  const field = (offset: number): number => {
    const short = view.getUint32(at + offset, true);
    if (short !== sentinel) return short;
    const value = wide.shift();
    if (value === undefined) throw broken(archive, `record ${shown(name)} lacks its zip64 sizes`);
    return value;
  };
  // In the order in which the zip64 extra field lists them.
  const bytes = field(24);
  const stored = field(20);
  const header = field(42);
  if (stored !== bytes) {
    throw broken(archive, `record ${shown(name)} is stored in ${stored} bytes but has ${bytes}`);
  }
  return { name, header, bytes };
}

/** The 64-bit numbers of a row's zip64 extra field; none without one. */
function wideFields(
  archive: Archive,
  view: DataView,
  extra: { readonly begin: number; readonly bytes: number },
): number[] {
  const end = extra.begin + extra.bytes;
  for (let at = extra.begin; at + 4 <= end; ) {
    const bytes = view.getUint16(at + 2, true);
    if (at + 4 + bytes > end) break;
    if (view.getUint16(at, true) === 1) {
      const count = Math.min(3, Math.floor(bytes / 8));
      return Array.from({ length: count }, (_, i) => long(archive, view, at + 4 + 8 * i));
    }
    at += 4 + bytes;
  }
  return [];
}

/** Checks a record's own header against its row, and skips it. */
function locate(archive: Archive, { name, header, bytes }: Row, limit: number): ByteRange {
  const outside = () =>
    broken(archive, `record ${shown(name)} (${bytes} bytes at ${header}) is not inside the file`);
  if (header + localBytes > limit) throw outside();
  const fixed = read(archive, header, header + localBytes);
  if (fixed.getUint32(0, true) !== 0x04034b50) {
    throw broken(archive, `record ${shown(name)} does not start at byte ${header}`);
  }
  const nameBytes = fixed.getUint16(26, true);
  const begin = header + localBytes + nameBytes + fixed.getUint16(28, true);
  if (begin + bytes > limit) throw outside();
  const flags = fixed.getUint16(6, true);
  requirePlain(archive, name, { flags, method: fixed.getUint16(8, true) });
  const nameView = read(archive, header + localBytes, header + localBytes + nameBytes);
  const sizes = [fixed.getUint32(18, true), fixed.getUint32(22, true)];
  const isLater = (flags & 8) !== 0; // sizes follow the data
  const agrees = sizes.every((size) => isShort(size, bytes, sentinel) || (isLater && size === 0));
  if (!agrees || decodeName(archive, nameView, 0, nameBytes) !== name) {
    throw broken(archive, `record ${shown(name)} is another in the directory than in its place`);
  }
  return { begin, end: begin + bytes };
}

function requirePlain(
  archive: Archive,
  name: string,
  { flags, method }: { readonly flags: number; readonly method: number },
): void {
  const isEncrypted = (flags & 0x2041) !== 0;
  if (method === 0 && !isEncrypted) return;
  throw new CheckpointError(
    "CHECKPOINT_UNSUPPORTED",
    `${archive.file}: record ${shown(name)} is ${isEncrypted ? "encrypted" : `compressed (method ${method})`}; ` +
      "is this a TorchScript program, or was it packed again? Save model.state_dict() with torch.save",
  );
}

function decodeName(archive: Archive, view: DataView, at: number, bytes: number): string {
  try {
    const name = new Uint8Array(view.buffer, view.byteOffset + at, bytes);
    return utf8.decode(name);
  } catch (cause) {
    throw broken(archive, "a record's name is not UTF-8", { cause });
  }
}

function read({ fd, file }: Archive, begin: number, end: number): DataView {
  const bytes = new Uint8Array(end - begin);
  readExactly(fd, bytes, begin, file);
  return new DataView(bytes.buffer);
}

function long(archive: Archive, view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw broken(archive, `its zip directory has the number ${value}, which passes 2^53`);
  }
  return Number(value);
}

function broken(archive: Archive, problem: string, options?: ErrorOptions): CheckpointError {
  return new CheckpointError("CHECKPOINT_HEADER", `${archive.file}: ${problem}`, options);
}

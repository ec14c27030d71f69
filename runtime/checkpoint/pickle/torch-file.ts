// What torch.save wrote of a state dict, as a table of tensors. The file is a zip of a pickle (data.pkl) and one record per
// storage; the pickle is read without running anything in it, and tensor bytes are not touched.
// See torch/serialization.py (_save, _load) and torch/_utils.py (_rebuild_tensor_v2).

import { resolve } from "node:path";
import {
  dtypeBytes,
  isFileSize,
  isStoredDtype,
  type StoredDtype,
  supportedDtypes,
  tensorBytes,
} from "../dtype.ts";
import { CheckpointError, shown } from "../errors.ts";
import { readExactly, refuseLfsPointer, withFile } from "../file-access.ts";
import type { TensorEntry, TensorFile } from "../tensor-file.ts";
import { unpickle } from "./unpickle.ts";
import { describe, isKind, type Storage, type Tensor } from "./values.ts";
import { type ByteRange, readZipRecords } from "./zip.ts";

type Archive = {
  readonly fd: number;
  readonly size: number;
  readonly file: string;
};
type Records = ReadonlyMap<string, ByteRange>;
type Source = { readonly file: string; readonly records: Records; readonly prefix: string };

/** Of a 72B model: about 200 kB. */
const pickleLimitBytes = 8 * 1024 * 1024;
const advice = "load it with PyTorch 1.6 or later and save it again, or as safetensors";

/**
 * Reads which tensors a file of torch.save holds, and where.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND, CHECKPOINT_READ, CHECKPOINT_LFS_POINTER, CHECKPOINT_TRUNCATED,
 *   CHECKPOINT_HEADER for what is broken, CHECKPOINT_UNSUPPORTED for what is sound but not a state dict of dense tensors
 *   in rows, among it every pickle that could run code
 */
export function readTorchFile(path: string): TensorFile {
  const file = resolve(path);
  return withFile(file, (fd, size) => {
    const archive = { fd, size, file };
    requireZip(archive);
    const records = readZipRecords(archive);
    const { prefix, range } = findPickle(records, file);
    requireLittleEndian(archive, records.get(`${prefix}/byteorder`));
    const pickle = readRecord(archive, range, pickleLimitBytes);
    const root = unpickle(pickle, `${file}: data.pkl`);
    if (!isKind(root, "dict")) {
      throw unsupported(file, `holds ${describe(root)}; expected a state dict`);
    }
    const tensors = new Map<string, TensorEntry>();
    for (const [name, value] of root.entries) {
      if (!isKind(value, "tensor")) throw notATensor(file, name, describe(value));
      tensors.set(name, entryOf(name, value, { file, records, prefix }));
    }
    return { path: file, metadata: new Map(), tensors };
  });
}

function requireZip({ fd, size, file }: Archive): void {
  const head = new Uint8Array(Math.min(size, 512));
  readExactly(fd, head, 0, file);
  refuseLfsPointer(head, file);
  const text = Buffer.from(head).toString("latin1");
  if (text.startsWith("PK\x03\x04")) return;
  if (head.byteLength < 4) {
    throw new CheckpointError(
      "CHECKPOINT_TRUNCATED",
      `${file}: file has ${size} bytes, less than any file of torch.save; download it again`,
    );
  }
  if (text.startsWith("\x80") || text.slice(257, 262) === "ustar") {
    const kind = text.startsWith("\x80") ? "a bare pickle" : "a tar archive";
    throw unsupported(file, `is ${kind}, the format of PyTorch before 1.6; ${advice}`);
  }
  throw new CheckpointError(
    "CHECKPOINT_HEADER",
    `${file}: starts with ${shown(text.slice(0, 4))}; this is not a file of torch.save`,
  );
}

/** All records lie in one folder, named after the file it was saved as. */
function findPickle(
  records: Records,
  file: string,
): { readonly prefix: string; readonly range: ByteRange } {
  const suffix = "/data.pkl";
  const [found, ...more] = [...records].filter(([name]) => /^[^/]+\/data\.pkl$/.test(name));
  if (found === undefined || more.length > 0) {
    const got = more.length > 0 ? "several" : "none";
    throw unsupported(file, `has to hold one record *${suffix}, but there is ${got}; ${advice}`);
  }
  const [name, range] = found;
  return { prefix: name.slice(0, -suffix.length), range };
}

function requireLittleEndian(archive: Archive, record: ByteRange | undefined): void {
  if (record === undefined) return; // before PyTorch 2.1
  const order = Buffer.from(readRecord(archive, record, 64)).toString("latin1");
  if (order.trim() !== "little") {
    throw unsupported(archive.file, `has the byte order ${shown(order)}; expected "little"`);
  }
}

function readRecord(
  { fd, file }: Archive,
  { begin, end }: ByteRange,
  limitBytes: number,
): Uint8Array {
  if (end - begin > limitBytes) {
    throw new CheckpointError(
      "CHECKPOINT_HEADER",
      `${file}: the record at byte ${begin} has ${end - begin} bytes; expected at most ${limitBytes}`,
    );
  }
  const bytes = new Uint8Array(end - begin);
  readExactly(fd, bytes, begin, file);
  return bytes;
}

function entryOf(name: string, tensor: Tensor, source: Source): TensorEntry {
  const { storage, offset, shape } = tensor;
  const where = `tensor ${shown(name)}`;
  const { dtype } = storage;
  if (!isStoredDtype(dtype)) {
    throw unsupported(
      source.file,
      `${where} has dtype ${dtype}; supported are ${supportedDtypes()}`,
    );
  }
  const bytes = tensorBytes({ name, dtype, shape }, source.file, "CHECKPOINT_HEADER");
  const record = requireRecord(storage, dtype, { ...source, where });
  requireRows(tensor, source.file, where);
  const begin = record.begin + offset * dtypeBytes(dtype);
  if (!isFileSize(offset) || begin + bytes > record.end) {
    throw new CheckpointError(
      "CHECKPOINT_HEADER",
      `${source.file}: ${where} takes ${bytes} bytes from element ${offset} of a storage of ${storage.count}`,
    );
  }
  return { name, dtype, shape, file: source.file, begin, end: begin + bytes };
}

function requireRecord(
  { key, count }: Storage,
  dtype: StoredDtype,
  { file, records, prefix, where }: Source & { readonly where: string },
): ByteRange {
  const record = /^\d+$/.test(key) ? records.get(`${prefix}/data/${key}`) : undefined;
  const got = record === undefined ? "is not there" : `has ${record.end - record.begin} bytes`;
  if (record !== undefined && record.end - record.begin === count * dtypeBytes(dtype)) {
    return record;
  }
  throw new CheckpointError(
    "CHECKPOINT_HEADER",
    `${file}: ${where} lies in record data/${shown(key)} of ${count} ${dtype}, which ${got}`,
  );
}

/** Rows without gaps are what can be mapped; strides of dimensions of one element mean nothing. */
function requireRows({ shape, strides }: Tensor, file: string, where: string): void {
  if (strides.length !== shape.length || !strides.every(isFileSize)) {
    throw new CheckpointError(
      "CHECKPOINT_HEADER",
      `${file}: ${where} has strides ${shown(strides)} for shape ${shown(shape)}`,
    );
  }
  if (shape.includes(0)) return;
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] ?? 0;
    if (size !== 1 && strides[axis] !== step) {
      const got = `${shown(strides)} for shape ${shown(shape)}`;
      throw unsupported(
        file,
        `${where} is a transposed or sliced view (strides ${got}); call .contiguous() on it and save it again`,
      );
    }
    step *= size;
  }
}

function notATensor(file: string, name: string, got: string): CheckpointError {
  return unsupported(
    file,
    `${shown(name)} is ${got}, expected a tensor; save the state dict alone: torch.save(model.state_dict(), …)`,
  );
}

function unsupported(file: string, problem: string): CheckpointError {
  return new CheckpointError("CHECKPOINT_UNSUPPORTED", `${file}: ${problem}`);
}

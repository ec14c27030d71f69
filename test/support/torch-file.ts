// Builds files as torch.save writes them, opcode by opcode and record by record, without the code under test. Every field can
// be made wrong. See CPython's Lib/pickletools.py, PKWARE's APPNOTE.TXT and torch/serialization.py.

import type { TinyTensor } from "./tiny-checkpoint.ts";

/** Opcodes that leave one value on the stack. */
export type Code = Uint8Array;

export function code(...parts: readonly (string | number | Uint8Array)[]): Code {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === "string") return Buffer.from(part, "latin1");
      return typeof part === "number" ? Buffer.from([part]) : Buffer.from(part);
    }),
  );
}

export function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

export function u64(value: number | bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return bytes;
}

export function u16(value: number): Uint8Array {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

export function text(value: string): Code {
  const bytes = Buffer.from(value, "utf8");
  return code("X", u32(bytes.byteLength), bytes);
}

/** BININT where it fits, else LONG1 of 8 bytes. */
export function int(value: number): Code {
  return value === (value | 0) ? code("J", u32(value)) : code(0x8a, 8, u64(value));
}

export function global(module: string, name: string): Code {
  return code("c", module, "\n", name, "\n");
}

export function tuple(...items: readonly Code[]): Code {
  return code("(", ...items, "t");
}

export const emptyOrderedDict: Code = code(global("collections", "OrderedDict"), ")R");

/** SETITEMS on an empty dict. */
export function dict(entries: readonly (readonly [string, Code])[]): Code {
  return code("}(", ...entries.flatMap(([name, value]) => [text(name), value]), "u");
}

export type StorageFields = { type?: string; key?: string; count?: number; tag?: string };

export function storage({ type, key, count, tag }: StorageFields = {}): Code {
  const name = global("torch", type ?? "FloatStorage");
  return code(
    tuple(text(tag ?? "storage"), name, text(key ?? "0"), text("cpu"), int(count ?? 6)),
    "Q",
  );
}

export type TensorFields = {
  storage?: Code;
  offset?: Code;
  shape?: readonly number[];
  strides?: readonly number[];
  hooks?: Code;
};

/** 2 × 3 of f32 unless told otherwise. */
export function tensor(fields: TensorFields = {}): Code {
  const shape = fields.shape ?? [2, 3];
  return code(
    global("torch._utils", "_rebuild_tensor_v2"),
    tuple(
      fields.storage ?? storage(),
      fields.offset ?? int(0),
      tuple(...shape.map(int)),
      tuple(...(fields.strides ?? rowStrides(shape)).map(int)),
      code(0x89),
      fields.hooks ?? emptyOrderedDict,
    ),
    "R",
  );
}

function rowStrides(shape: readonly number[]): readonly number[] {
  return shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
}

export function pickle(value: Code, protocol = 2): Uint8Array {
  return code(0x80, protocol, value, ".");
}

export type ZipRecord = {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** What the record's own header says instead. */
  readonly local?: Partial<Record<"signature" | "flags" | "method" | "size", number>> & {
    readonly name?: string;
  };
  /** What its row of the directory says instead. */
  readonly row?: Partial<
    Record<"signature" | "flags" | "method" | "stored" | "size" | "header", number>
  > & { readonly extra?: Uint8Array };
};

export type ZipEnd = {
  readonly count?: number;
  readonly bytes?: number;
  readonly begin?: number;
  readonly disk?: number;
  readonly comment?: string;
  /** Written as PyTorch does, with these fields of the 64-bit record wrong. */
  readonly zip64?: Partial<Record<"count" | "bytes" | "begin" | "locator", number | bigint>>;
};

/** Data of each record starts at a multiple of `align`. */
export function zip(records: readonly ZipRecord[], end: ZipEnd = {}, align = 64): Uint8Array {
  const parts: Uint8Array[] = [];
  const rows: Uint8Array[] = [];
  let at = 0;
  for (const record of records) {
    const name = Buffer.from(record.local?.name ?? record.name);
    const padding = (align - ((at + 30 + name.byteLength + 4) % align)) % align;
    const extra = code("FB", u16(padding), new Uint8Array(padding).fill(0x5a));
    parts.push(localHeader(record, name, extra), record.bytes);
    rows.push(directoryRow(record, at));
    at += 30 + name.byteLength + extra.byteLength + record.bytes.byteLength;
  }
  const directory = Buffer.concat(rows);
  return Buffer.concat([...parts, directory, zipEnd(records.length, directory, at, end)]);
}

function localHeader({ bytes, local = {} }: ZipRecord, name: Uint8Array, extra: Uint8Array): Code {
  const size = u32(local.size ?? bytes.byteLength);
  return code(
    ...[u32(local.signature ?? 0x04034b50), u16(0), u16(local.flags ?? 0x800)],
    ...[u16(local.method ?? 0), u32(0), u32(0), size, size],
    ...[u16(name.byteLength), u16(extra.byteLength), name, extra],
  );
}

function directoryRow({ name, bytes, row = {} }: ZipRecord, at: number): Code {
  const extra = row.extra ?? new Uint8Array();
  return code(
    ...[u32(row.signature ?? 0x02014b50), u16(0), u16(0), u16(row.flags ?? 0x800)],
    ...[u16(row.method ?? 0), u32(0), u32(0)],
    ...[u32(row.stored ?? bytes.byteLength), u32(row.size ?? bytes.byteLength)],
    ...[u16(Buffer.byteLength(name)), u16(extra.byteLength), u16(0), u16(0), u16(0), u32(0)],
    ...[u32(row.header ?? at), Buffer.from(name), extra],
  );
}

function zipEnd(count: number, directory: Uint8Array, begin: number, end: ZipEnd): Code {
  const { zip64 } = end;
  const bytes = directory.byteLength;
  const count64 = u64(zip64?.count ?? count);
  const long = code(
    ...[u32(0x06064b50), u64(44), u16(0), u16(45), u32(0), u32(0), count64, count64],
    ...[u64(zip64?.bytes ?? bytes), u64(zip64?.begin ?? begin)],
    ...[u32(0x07064b50), u32(0), u64(zip64?.locator ?? begin + bytes), u32(1)],
  );
  const short = u16(end.count ?? count);
  return code(
    zip64 === undefined ? "" : long,
    ...[u32(0x06054b50), u16(end.disk ?? 0), u16(0), short, short],
    ...[u32(end.bytes ?? bytes), u32(end.begin ?? begin)],
    ...[u16(end.comment?.length ?? 0), end.comment ?? ""],
  );
}

const storageTypes: Readonly<Record<string, readonly [string, number]>> = {
  BF16: ["BFloat16Storage", 2],
  F16: ["HalfStorage", 2],
  F32: ["FloatStorage", 4],
  I32: ["IntStorage", 4],
  I64: ["LongStorage", 8],
  U8: ["ByteStorage", 1],
};

/** The records of a correct file, its pickle first: a state dict with one storage per tensor. */
export function torchRecords(tensors: readonly TinyTensor[]): readonly ZipRecord[] {
  const entries = tensors.map(({ name, dtype, shape, bytes }, i) => {
    const [type = "", size = 1] = storageTypes[dtype] ?? [];
    const own = storage({ type, key: `${i}`, count: bytes.byteLength / size });
    return [name, tensor({ storage: own, shape })] as const;
  });
  return [
    { name: "archive/data.pkl", bytes: pickle(dict(entries)) },
    { name: "archive/byteorder", bytes: Buffer.from("little") },
    ...tensors.map(({ bytes }, i) => ({ name: `archive/data/${i}`, bytes })),
    { name: "archive/version", bytes: Buffer.from("3\n") },
  ];
}

/** A correct file of these tensors. */
export function torchFile(tensors: readonly TinyTensor[], align = 64): Uint8Array {
  return zip(torchRecords(tensors), { zip64: {} }, align);
}

/** A file around any pickle, with one storage "0" of 24 bytes. */
export function torchFileOf(pickled: Uint8Array, more: readonly ZipRecord[] = []): Uint8Array {
  return zip([
    { name: "archive/data.pkl", bytes: pickled },
    { name: "archive/data/0", bytes: new Uint8Array(24) },
    ...more,
  ]);
}

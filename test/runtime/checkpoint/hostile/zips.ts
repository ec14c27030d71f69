// Files of torch.save whose container must be refused, each with the code it must be refused with.

import { deflateRawSync } from "node:zlib";
import {
  code,
  dict,
  pickle,
  storage,
  tensor,
  torchFileOf,
  u16,
  u64,
  type ZipEnd,
  type ZipRecord,
  zip,
} from "../../../support/torch-file.ts";
import type { HostileTorchFile } from "./pickles.ts";

const good = pickle(dict([["a", tensor()]]));
const data = new Uint8Array(24);

type Fields = Pick<ZipRecord, "local" | "row"> & { readonly bytes?: Uint8Array };

/** A sound file but for what `fields` says of the record with the tensor's bytes. */
function withRecord(fields: Fields): () => Uint8Array {
  return () =>
    zip([
      { name: "archive/data.pkl", bytes: good },
      { name: "archive/data/0", bytes: data, ...fields },
    ]);
}

function withEnd(end: ZipEnd): () => Uint8Array {
  return () =>
    zip(
      [
        { name: "archive/data.pkl", bytes: good },
        { name: "archive/data/0", bytes: data },
      ],
      end,
    );
}

/** The zip64 sizes of a directory row. */
function wide(...numbers: readonly (number | bigint)[]): Uint8Array {
  return code(u16(1), u16(8 * numbers.length), ...numbers.map(u64));
}

const bomb = deflateRawSync(new Uint8Array(10_000_000));
const ones = 0xffff_ffff;

const contradictions: readonly (readonly [string, () => Uint8Array])[] = [
  ["counts more records than it has", withEnd({ count: 3 })],
  ["counts fewer records than it has", withEnd({ count: 1 })],
  ["has a directory that is too long", withEnd({ bytes: 4000 })],
  ["has a directory of 4 GB", withEnd({ bytes: ones })],
  ["has a directory before the file", withEnd({ begin: ones })],
  ["has a directory somewhere else", withEnd({ begin: 0 })],
  ["continues on a second disk", withEnd({ disk: 1 })],
  ["has a zip64 locator that leads nowhere", withEnd({ zip64: { locator: 4 } })],
  ["has a zip64 locator beyond 2^53", withEnd({ zip64: { locator: 2n ** 63n } })],
  ["counts 2^40 records in zip64", withEnd({ count: 0xffff, zip64: { count: 2n ** 40n } })],
  ["disagrees with its zip64 count", withEnd({ zip64: { count: 1 } })],
  ["has a zip64 directory of 2^62 bytes", withEnd({ bytes: ones, zip64: { bytes: 2n ** 62n } })],
  ["has a zip64 directory that wraps", withEnd({ begin: ones, zip64: { begin: 2n ** 64n - 8n } })],
  ["has a directory without rows", withRecord({ row: { signature: 0 } })],
  ["has a record that does not start", withRecord({ local: { signature: 0 } })],
  ["has a record with another name", withRecord({ local: { name: "archive/data/1" } })],
  ["has a record with another size", withRecord({ local: { size: 20 } })],
  ["has a record larger than stored", withRecord({ row: { size: 2 ** 31 } })],
  ["has a record after its end", withRecord({ row: { stored: 2 ** 31, size: 2 ** 31 } })],
  ["has a record outside the file", withRecord({ row: { header: 2 ** 31 } })],
  ["has a record inside another", withRecord({ row: { header: 0 } })],
  [
    "has zip64 sizes it does not give",
    withRecord({ row: { size: ones, stored: ones, extra: wide(24) } }),
  ],
  [
    "has zip64 sizes beyond 2^53",
    withRecord({ row: { size: ones, stored: ones, extra: wide(2n ** 60n, 2n ** 60n) } }),
  ],
  [
    "has a zip64 place that overflows",
    withRecord({ row: { header: ones, extra: wide(2n ** 53n - 1n) } }),
  ],
  ["has a record twice", () => torchFileOf(good, [{ name: "archive/data/0", bytes: data }])],
  ["has 30 000 records", () => torchFileOf(good, manyRecords(30_000))],
  ["has a name that is not UTF-8", () => renamed(Buffer.from("archive/data/\xff", "latin1"))],
  ["is another kind of file", () => Buffer.from("GGUF and something after it")],
  ["is safetensors", () => Buffer.from("\x02\0\0\0\0\0\0\0{}", "latin1")],
];

function manyRecords(count: number): readonly ZipRecord[] {
  return Array.from({ length: count }, (_, i) => ({ name: `${i}`, bytes: new Uint8Array() }));
}

/** Replaces both names of the tensor's record by one of the same length. */
function renamed(name: Uint8Array): Uint8Array {
  const bytes = Buffer.from(torchFileOf(good));
  for (let at = 0; ; ) {
    at = bytes.indexOf("archive/data/0", at);
    if (at < 0) return bytes;
    bytes.set(name, at);
  }
}

export const hostileZips: readonly HostileTorchFile[] = [
  ...contradictions.map(
    ([title, bytes]): HostileTorchFile => ({ title, bytes, code: "CHECKPOINT_HEADER" }),
  ),
  {
    title: "is compressed",
    bytes: withRecord({ bytes: bomb, local: { method: 8 }, row: { method: 8 } }),
    code: "CHECKPOINT_UNSUPPORTED",
    names: "compressed",
  },
  {
    title: "is compressed but says so in one place only",
    bytes: withRecord({ local: { method: 8 } }),
    code: "CHECKPOINT_UNSUPPORTED",
    names: "compressed",
  },
  {
    title: "unpacks to more than it is",
    bytes: withRecord({
      bytes: bomb,
      row: { method: 8, stored: bomb.byteLength, size: 10_000_000 },
    }),
    code: "CHECKPOINT_UNSUPPORTED",
    names: "archive/data/0",
  },
  {
    title: "is encrypted",
    bytes: withRecord({ local: { flags: 1 }, row: { flags: 1 } }),
    code: "CHECKPOINT_UNSUPPORTED",
    names: "encrypted",
  },
  {
    title: "has a comment after its directory",
    bytes: withEnd({ comment: "hello" }),
    code: "CHECKPOINT_TRUNCATED",
  },
  {
    title: "holds no pickle",
    bytes: () => zip([{ name: "archive/data/0", bytes: data }]),
    code: "CHECKPOINT_UNSUPPORTED",
    names: "data.pkl",
  },
  {
    title: "holds two pickles",
    bytes: () => torchFileOf(good, [{ name: "other/data.pkl", bytes: good }]),
    code: "CHECKPOINT_UNSUPPORTED",
    names: "several",
  },
  {
    title: "is of another byte order",
    bytes: () => torchFileOf(good, [{ name: "archive/byteorder", bytes: Buffer.from("big") }]),
    code: "CHECKPOINT_UNSUPPORTED",
    names: "byte order",
  },
  {
    title: "has no record for its tensor",
    bytes: () => torchFileOf(pickle(dict([["a", tensor({ storage: storage({ key: "4" }) })]]))),
    code: "CHECKPOINT_HEADER",
    names: '"4"',
  },
  {
    title: "is a Git LFS pointer",
    bytes: () =>
      Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4\n"),
    code: "CHECKPOINT_LFS_POINTER",
    names: "git lfs pull",
  },
  {
    title: "is a tar archive",
    bytes: () => {
      const bytes = Buffer.alloc(1024);
      bytes.write("storages", 0);
      bytes.write("ustar", 257);
      return bytes;
    },
    code: "CHECKPOINT_UNSUPPORTED",
    names: "tar",
  },
  {
    title: "is a bare pickle",
    bytes: () => good,
    code: "CHECKPOINT_UNSUPPORTED",
    names: "before 1.6",
  },
];

// A correct file that can be damaged with knowledge of its format, so that most damage gets past the first check.

import { safetensors, type TinyTensor } from "../support/tiny-checkpoint.ts";
import { torchRecords, type ZipRecord, zip } from "../support/torch-file.ts";
import { below, mutateBytes, pick, type Random } from "./mutate-bytes.ts";
import { mutateJson } from "./mutate-json.ts";

export type FuzzFile = {
  readonly bytes: Uint8Array;
  /** The file with `count` mutations. */
  readonly mutate: (random: Random, count: number) => Uint8Array;
};

function repeat<Value>(value: Value, count: number, change: (value: Value) => Value): Value {
  let result = value;
  for (let i = 0; i < count; i++) result = change(result);
  return result;
}

export function jsonFile(value: unknown): FuzzFile {
  const text = JSON.stringify(value);
  const bytes = Buffer.from(text);
  return {
    bytes,
    mutate: (random, count) =>
      random() < 0.2
        ? repeat<Uint8Array>(bytes, count, (before) => mutateBytes(before, random))
        : Buffer.from(repeat(text, count, (before) => mutateJson(before, random))),
  };
}

/** Lines that are dropped, doubled, moved or damaged. */
export function lineFile(bytes: Uint8Array): FuzzFile {
  const lines = Buffer.from(bytes).toString("latin1").split("\n");
  const mutateLines = (before: readonly string[], random: Random): readonly string[] => {
    const at = below(before.length, random);
    const line = Buffer.from(before[at] ?? "", "latin1");
    const kind = below(4, random);
    if (kind === 0) return before.toSpliced(at, 1);
    if (kind === 1) return before.toSpliced(at, 0, pick(before, random));
    if (kind === 2)
      return before.toSpliced(at, 1).toSpliced(below(before.length, random), 0, `${line}`);
    return before.with(at, Buffer.from(mutateBytes(line, random)).toString("latin1"));
  };
  return {
    bytes,
    mutate: (random, count) =>
      random() < 0.2
        ? repeat(bytes, count, (before) => mutateBytes(before, random))
        : Buffer.from(
            repeat(lines, count, (before) => mutateLines(before, random) as string[]).join("\n"),
            "latin1",
          ),
  };
}

/** Its header damaged as JSON with a length that fits, or header, length and data as bytes. */
export function safetensorsFile(tensors: readonly TinyTensor[]): FuzzFile {
  const bytes = Buffer.from(safetensors(tensors));
  const headerEnd = 8 + Number(bytes.readBigUInt64LE());
  const header = bytes.toString("utf8", 8, headerEnd);
  const framed = (json: string): Uint8Array => {
    const text = Buffer.from(json);
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(text.byteLength));
    return Buffer.concat([prefix, text, bytes.subarray(headerEnd)]);
  };
  return {
    bytes,
    mutate: (random, count) => {
      const kind = random();
      if (kind < 0.7) return framed(repeat(header, count, (before) => mutateJson(before, random)));
      const range: readonly [number, number] = kind < 0.9 ? [0, headerEnd] : [0, bytes.byteLength];
      return repeat<Uint8Array>(bytes, count, (before) => mutateBytes(before, random, range));
    },
  };
}

/** Its pickle damaged within an intact archive, or the archive's own tables. */
export function torchFuzzFile(tensors: readonly TinyTensor[]): FuzzFile {
  const records = torchRecords(tensors);
  const bytes = zip(records, { zip64: {} });
  const [pickle, ...others] = records;
  const directory = bytes.byteLength - 98 - records.length * 60;
  return {
    bytes,
    mutate: (random, count) => {
      const kind = random();
      if (kind < 0.6 && pickle !== undefined) {
        const damaged = repeat(pickle.bytes, count, (before) => mutateBytes(before, random));
        return zip([{ ...pickle, bytes: damaged }, ...others], { zip64: {} });
      }
      if (kind < 0.8)
        return zip(
          repeat(records, count, (before) => mutateRecords(before, random)),
          { zip64: {} },
        );
      const range: readonly [number, number] = [kind < 0.95 ? directory : 0, bytes.byteLength];
      return repeat(bytes, count, (before) => mutateBytes(before, random, range));
    },
  };
}

const fields = [
  ["flags", 0xffff],
  ["method", 0xffff],
  ["size", 2 ** 32 - 1],
  ["signature", 2 ** 32 - 1],
] as const;
const sizes = [0, 1, 2 ** 16, 2 ** 31, 2 ** 32 - 1] as const;

/** One field of one record wrong, in its header or in the directory. */
function mutateRecords(records: readonly ZipRecord[], random: Random): readonly ZipRecord[] {
  const at = below(records.length, random);
  const record = records[at];
  if (record === undefined) return records;
  const value = pick(sizes, random);
  const [field, limit] = pick(fields, random);
  const changes: readonly ZipRecord[] = [
    { ...record, name: pick(records, random).name },
    { ...record, bytes: mutateBytes(record.bytes, random) },
    { ...record, local: { [field]: Math.min(value, limit) } },
    { ...record, row: { [field]: Math.min(value, limit) } },
    { ...record, row: { [pick(["stored", "header"] as const, random)]: value } },
    { ...record, row: { extra: mutateBytes(new Uint8Array(32), random) } },
  ];
  return random() < 0.2 ? records.toSpliced(at, 1) : records.with(at, pick(changes, random));
}

/** A file of which only bytes are known. */
export function plainFile(bytes: Uint8Array): FuzzFile {
  return {
    bytes,
    mutate: (random, count) => repeat(bytes, count, (before) => mutateBytes(before, random)),
  };
}

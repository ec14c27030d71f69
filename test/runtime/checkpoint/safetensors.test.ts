import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { TensorSpec } from "../../../runtime/checkpoint/dtype.ts";
import { shown } from "../../../runtime/checkpoint/errors.ts";
import { encodeHeader, readSafetensorsHeader } from "../../../runtime/checkpoint/safetensors.ts";
import { readTensorBytes } from "../../../runtime/checkpoint/tensor-file.ts";
import { repositoryPath, sharedPath } from "../../support/shared.ts";
import {
  safetensors,
  safetensorsWithHeader,
  temporaryDirectory,
} from "../../support/tiny-checkpoint.ts";
import { hostileFiles } from "./hostile/files.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

function fileWith(name: string, bytes: Uint8Array): string {
  const path = join(directory.path, name);
  writeFileSync(path, bytes);
  return path;
}

describe("readSafetensorsHeader", () => {
  it("finds dtype, shape and bytes of every tensor", () => {
    const path = fileWith(
      "good.safetensors",
      safetensors(
        [
          { name: "a", dtype: "U8", shape: [3], bytes: Uint8Array.of(1, 2, 3) },
          { name: "b", dtype: "I32", shape: [2, 1], bytes: Uint8Array.of(4, 0, 0, 0, 5, 0, 0, 0) },
          { name: "scalar", dtype: "F16", shape: [], bytes: Uint8Array.of(6, 7) },
          { name: "none", dtype: "F32", shape: [0, 5], bytes: new Uint8Array() },
        ],
        { format: "pt", note: "x" },
      ),
    );
    const file = readSafetensorsHeader(path);
    expect([...file.tensors.keys()]).toEqual(["a", "b", "scalar", "none"]);
    expect(file.metadata).toEqual(
      new Map([
        ["format", "pt"],
        ["note", "x"],
      ]),
    );
    const b = file.tensors.get("b")!;
    expect(b).toMatchObject({ name: "b", dtype: "I32", shape: [2, 1], file: path });
    expect(b.begin % 8).toBe(3);
    expect(readTensorBytes(b)).toEqual(Uint8Array.of(4, 0, 0, 0, 5, 0, 0, 0));
    expect(readTensorBytes(file.tensors.get("scalar")!)).toEqual(Uint8Array.of(6, 7));
    expect(readTensorBytes(file.tensors.get("none")!)).toHaveLength(0);
  });

  it("accepts a header that lists tensors in another order than their bytes", () => {
    const header =
      '{"late":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"early":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}  ';
    const path = fileWith("order.safetensors", safetensorsWithHeader(header, Uint8Array.of(8, 9)));
    const { tensors } = readSafetensorsHeader(path);
    expect(readTensorBytes(tensors.get("late")!)).toEqual(Uint8Array.of(9));
    expect(readTensorBytes(tensors.get("early")!)).toEqual(Uint8Array.of(8));
  });

  it("accepts names that would confuse an object or a key scanner", () => {
    const names = ["__proto__", 'quo"te', "back\\slash", 'a":{"b', "constructor", "层"];
    const tensors = names.map((name) => ({
      name,
      dtype: "U8",
      shape: [1],
      bytes: Uint8Array.of(1),
    }));
    const json = names
      .map(
        (name, i) =>
          `${JSON.stringify(name)}:{"dtype":"U8","shape":[1],"data_offsets":[${i},${i + 1}]}`,
      )
      .join(",");
    const path = fileWith(
      "names.safetensors",
      safetensorsWithHeader(`{${json}}`, new Uint8Array(6)),
    );
    expect([...readSafetensorsHeader(path).tensors.keys()]).toEqual(
      tensors.map(({ name }) => name),
    );
  });

  it("follows symbolic links, as the Hugging Face cache needs", () => {
    mkdirSync(join(directory.path, "blobs"));
    fileWith("blobs/abc", safetensors([]));
    symlinkSync("blobs/abc", join(directory.path, "link.safetensors"));
    expect(readSafetensorsHeader(join(directory.path, "link.safetensors")).tensors.size).toBe(0);
  });

  it.each(hostileFiles)("refuses a file that $title", ({ bytes, code, names }) => {
    const path = fileWith("hostile.safetensors", bytes());
    const error = refusal(() => readSafetensorsHeader(path));
    expect(error).toMatchObject({ name: "CheckpointError", code });
    expect(error.message).toContain(path);
    expect(error.message).toContain(names ?? "");
    expect(error.message.length).toBeLessThan(1_000);
  });

  it("refuses every prefix of a correct file", () => {
    const bytes = safetensors([{ name: "a", dtype: "F32", shape: [2], bytes: new Uint8Array(8) }]);
    for (let length = 0; length < bytes.byteLength; length++) {
      const path = fileWith("prefix.safetensors", bytes.subarray(0, length));
      expect(refusal(() => readSafetensorsHeader(path)).code).toBe("CHECKPOINT_TRUNCATED");
    }
  });

  it("says so when there is no file, or a directory", () => {
    const missing = join(directory.path, "absent.safetensors");
    expect(refusal(() => readSafetensorsHeader(missing)).code).toBe("CHECKPOINT_NOT_FOUND");
    expect(refusal(() => readSafetensorsHeader(directory.path)).code).toBe("CHECKPOINT_NOT_FOUND");
  });

  it("does not wait for a writer when the file is a FIFO", () => {
    const fifo = join(directory.path, "fifo.safetensors");
    execFileSync("mkfifo", [fifo]);
    expect(refusal(() => readSafetensorsHeader(fifo)).code).toBe("CHECKPOINT_NOT_FOUND");
  });

  it("reads the bundled model's first shard", () => {
    const path = repositoryPath("examples/qwen-mini/model-00001-of-00002.safetensors");
    const { tensors } = readSafetensorsHeader(path);
    expect(tensors.size).toBe(34);
    expect(tensors.get("transformer.wte.weight")).toMatchObject({
      dtype: "BF16",
      shape: [4096, 256],
    });
  });

  const golden = sharedPath("golden", "kv-cache.safetensors");
  it.skipIf(golden === undefined)("reads a file written by the reference implementation", () => {
    const { tensors } = readSafetensorsHeader(golden!);
    expect(tensors.get("layer0.k.codes")).toMatchObject({ dtype: "U8", shape: [1, 4, 64, 64] });
  });
});

describe("readTensorBytes", () => {
  it("refuses a file that shrank after its header was read", () => {
    const path = fileWith(
      "shrinks.safetensors",
      safetensors([{ name: "a", dtype: "U8", shape: [4], bytes: new Uint8Array(4) }]),
    );
    const entry = readSafetensorsHeader(path).tensors.get("a")!;
    fileWith("shrinks.safetensors", new Uint8Array(entry.end - 1));
    expect(refusal(() => readTensorBytes(entry)).code).toBe("CHECKPOINT_TRUNCATED");
  });
});

describe("encodeHeader", () => {
  it("writes exactly these bytes", () => {
    const { header, offsets, fileBytes } = encodeHeader(
      [
        { name: "w", dtype: "BF16", shape: [2, 3] },
        { name: "b", dtype: "F32", shape: [] },
      ],
      new Map([["format", "pt"]]),
    );
    const json =
      '{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}';
    const padding = (8 - (json.length % 8)) % 8;
    const expected = safetensorsWithHeader(json + " ".repeat(padding));
    expect(Buffer.from(header).equals(expected)).toBe(true);
    expect(header.byteLength % 8).toBe(0);
    expect(offsets.get("b")).toEqual({
      begin: header.byteLength + 12,
      end: header.byteLength + 16,
    });
    expect(fileBytes).toBe(header.byteLength + 16);
  });

  it.each(["a", "ab", "abc", "abcd", "层", '"\\', "__proto__"])(
    "starts data 8-aligned and reads back for a tensor called %s",
    (name) => {
      const { header } = encodeHeader([{ name, dtype: "U8", shape: [1] }], new Map());
      const path = fileWith("aligned.safetensors", Buffer.concat([header, Uint8Array.of(7)]));
      const entry = readSafetensorsHeader(path).tensors.get(name)!;
      expect(entry.begin % 8).toBe(0);
      expect(readTensorBytes(entry)).toEqual(Uint8Array.of(7));
    },
  );

  it.each<{ title: string; entries: readonly TensorSpec[] }>([
    {
      title: "a name twice",
      entries: [
        { name: "a", dtype: "U8", shape: [1] },
        { name: "a", dtype: "U8", shape: [1] },
      ],
    },
    { title: "the reserved name", entries: [{ name: "__metadata__", dtype: "U8", shape: [1] }] },
    { title: "a negative dimension", entries: [{ name: "a", dtype: "U8", shape: [-1] }] },
    { title: "a fraction", entries: [{ name: "a", dtype: "U8", shape: [0.5, 2] }] },
    { title: "an overflow", entries: [{ name: "a", dtype: "I64", shape: [2 ** 26, 2 ** 26] }] },
    {
      title: "a sum that overflows",
      entries: ["a", "b"].map((name) => ({ name, dtype: "U8", shape: [2 ** 53 - 1] })),
    },
  ])("refuses $title", ({ entries }) => {
    expect(refusal(() => encodeHeader(entries, new Map())).code).toBe("CHECKPOINT_WRITE");
  });
});

describe("shown", () => {
  it("cuts and escapes what a file could use to flood or reprogram a terminal", () => {
    expect(shown("x".repeat(1_000)).length).toBeLessThan(200);
    expect(shown("\u001b[2J\u009b2J")).toBe('"\\u001b[2J\\u009b2J"');
  });
});

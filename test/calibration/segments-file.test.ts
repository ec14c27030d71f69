import { describe, expect, it } from "vitest";
import { readSegmentsFile } from "../../calibration/index.ts";
import { sharedPath } from "../support/shared.ts";
import { temporaryFiles } from "./support.ts";

const write = temporaryFiles();
const exampleIds = [1, 2, 3, 40, 50, 60];

function safetensors(header: unknown, body: ArrayBufferView): Uint8Array {
  const text = typeof header === "string" ? header : JSON.stringify(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([
    length,
    Buffer.from(text),
    Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  ]);
}

const entry = (dtype: string, shape: unknown, offsets: unknown): unknown => ({
  __metadata__: { format: "pt" },
  input_ids: { dtype, shape, data_offsets: offsets },
});

describe("readSegmentsFile", () => {
  it("reads I32 and I64 rows alike", () => {
    const small = write(
      "a",
      safetensors(entry("I32", [2, 3], [0, 24]), Int32Array.from(exampleIds)),
    );
    const wide = BigInt64Array.from(exampleIds, BigInt);
    const large = write("b", safetensors(entry("I64", [2, 3], [0, 48]), wide));
    const expected = {
      ids: [Int32Array.of(1, 2, 3), Int32Array.of(40, 50, 60)],
      tokens: 6,
      counted: 6,
      sources: [],
      documentsUsed: 2,
    };
    expect(readSegmentsFile(small)).toEqual(expected);
    expect(readSegmentsFile(large)).toEqual(expected);
  });

  const body = Int32Array.from(exampleIds);
  it.each([
    ["an empty file", new Uint8Array(0)],
    [
      "a header longer than the file",
      safetensors(entry("I32", [2, 3], [0, 24]), body).slice(0, 20),
    ],
    ["a huge header length", new Uint8Array(64).fill(255)],
    ["a header that is not JSON", safetensors("{nope", body)],
    ["a header that is null", safetensors("null", body)],
    ["another tensor", safetensors({ x: { dtype: "I32", shape: [2, 3] } }, body)],
    ["another dtype", safetensors(entry("F32", [2, 3], [0, 24]), body)],
    ["one dimension", safetensors(entry("I32", [6], [0, 24]), body)],
    ["a negative dimension", safetensors(entry("I32", [-2, -3], [0, 24]), body)],
    ["a shape beyond the data", safetensors(entry("I32", [4, 3], [0, 48]), body)],
    ["a shape whose size overflows", safetensors(entry("I32", [2 ** 31, 2 ** 31], [0, 24]), body)],
    ["offsets that do not fit the shape", safetensors(entry("I32", [2, 3], [0, 20]), body)],
    ["reversed offsets", safetensors(entry("I32", [2, 3], [24, 0]), body)],
    ["no offsets", safetensors(entry("I32", [2, 3], null), body)],
    [
      "a negative id",
      safetensors(
        entry("I32", [2, 3], [0, 24]),
        Int32Array.from(exampleIds, (id) => -id),
      ),
    ],
    [
      "an id beyond 31 bits",
      safetensors(entry("I64", [1, 2], [0, 16]), BigInt64Array.of(1n, 2n ** 40n)),
    ],
  ])("refuses %s", (name, bytes) => {
    const path = write(name.replaceAll(" ", "-"), bytes);
    expect(() => readSegmentsFile(path)).toThrow(
      expect.objectContaining({
        name: "CalibrationError",
        code: "CALIBRATION_FORMAT",
        message: expect.stringContaining(path),
      }),
    );
  });

  it("names a missing file", () => {
    expect(() => readSegmentsFile("/nowhere/x.safetensors")).toThrow(
      expect.objectContaining({ code: "CALIBRATION_NOT_FOUND" }),
    );
  });

  const golden = sharedPath("data", "calibration", "segments-128x512.safetensors");
  it.skipIf(golden === undefined)("reads the segments of the goldens", () => {
    const { ids, tokens } = readSegmentsFile(golden!);
    expect(ids.length).toBe(128);
    expect(tokens).toBe(128 * 512);
    expect(ids.every((segment) => segment.every((id) => id < 4096))).toBe(true);
  });
});

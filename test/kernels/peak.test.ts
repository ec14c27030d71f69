import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { levelsOf, withDevice } from "../support/kernels.ts";
import { integers, seeded } from "../support/random.ts";

describe.each([...levelsOf("readAll"), "cuda"] as const)("readAll on %s", (isa) => {
  test.each([
    [64, 1],
    [640, 3],
    [64 * 997 + 63, 8],
    [64 * 5, 100],
    [10, 2],
  ])("reads each whole line of %i bytes once, in %i pieces", async (bytes, pieces) => {
    await withDevice({ isa }, async (device) => {
      const values = Uint8Array.from(integers(bytes, 256, seeded(bytes)));
      const words = new Uint32Array(values.buffer, 0, Math.floor(bytes / 64) * 16);
      const expected = words.reduce((sum, word) => sum ^ word, 0) | 0;
      const y = ops.readAll(device.from("u8", values), pieces);
      expect(await y.read()).toEqual(Int32Array.of(expected));
    });
  });
});

describe.each(levelsOf("arithmeticPeak"))("arithmeticPeak on %s", (isa) => {
  test("counts as many multiply-adds as threads and repeats make of it, or none", async () => {
    const count = (kind: (typeof ops.peakKinds)[number], threads: number, repeats: number) =>
      withDevice({ isa, threads }, async (device) => {
        const [millions = Number.NaN] = await ops.arithmeticPeak(device, kind, repeats).read();
        return millions;
      });
    for (const kind of ops.peakKinds) {
      const one = await count(kind, 1, 10_000);
      expect(await count(kind, 1, 20_000)).toBeCloseTo(2 * one, 5);
      expect(await count(kind, 2, 10_000)).toBeCloseTo(2 * one, 5);
      if (kind === "bf16") expect(one > 0).toBe(isa === "avx512-bf16");
      else expect(one).toBeGreaterThan(0);
    }
  });
});

test("arithmeticPeak on cuda has floats and bytes, and counts the repeats of the whole GPU", async () => {
  const count = (kind: (typeof ops.peakKinds)[number], repeats: number) =>
    withDevice({ isa: "cuda" }, async (device) => {
      const [millions = Number.NaN] = await ops.arithmeticPeak(device, kind, repeats).read();
      return millions;
    });
  for (const kind of ops.peakKinds) {
    const one = await count(kind, 2);
    expect(await count(kind, 4)).toBeCloseTo(2 * one, 5);
    expect(one > 0).toBe(kind !== "int16");
  }
});

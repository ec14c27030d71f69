import { describe, expect, it } from "vitest";
import { createDetokenizer } from "../../../runtime/generation/detokenizer.ts";
import { createRandom } from "../../../runtime/generation/random.ts";

/** One token per byte; 256 is a control token. */
const bytes = {
  bytesOf: (id: number): Uint8Array =>
    id === 256 ? new TextEncoder().encode("<stop>") : Uint8Array.of(id),
  isSpecial: (id: number): boolean => id === 256,
};

const push = (ids: Iterable<number>, options = {}): string[] => {
  const detokenizer = createDetokenizer(bytes, options);
  const deltas = [...ids].map((id) => detokenizer.push(id));
  return [...deltas, detokenizer.flush()];
};

describe("createDetokenizer", () => {
  it("holds a character back until its last byte", () => {
    expect(push(Buffer.from("a你👍"))).toEqual(["a", "", "", "你", "", "", "", "👍", ""]);
  });

  it("replaces a character that never completes, at the flush", () => {
    expect(push(Buffer.from("x€").subarray(0, 3))).toEqual(["x", "", "", "\ufffd"]);
  });

  it("gives control tokens no text unless asked", () => {
    expect(push([97, 256, 98])).toEqual(["a", "", "b", ""]);
    expect(push([97, 256], { skipSpecial: false })).toEqual(["a", "<stop>", ""]);
  });

  it("keeps a byte-order mark in the text", () => {
    expect(push(Buffer.from("\ufeffa")).join("")).toBe("\ufeffa");
  });

  it("starts afresh after a flush", () => {
    const detokenizer = createDetokenizer(bytes);
    detokenizer.push(0xe2);
    expect(detokenizer.flush()).toBe("\ufffd");
    expect(detokenizer.push(97)).toBe("a");
  });

  it("gives the text of the whole, for any bytes", () => {
    const random = createRandom(3);
    for (let round = 0; round < 200; round += 1) {
      const all = Uint8Array.from({ length: 40 }, () =>
        Math.floor(random() < 0.5 ? random() * 128 : 128 + random() * 128),
      );
      const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(all);
      expect(push(all).join("")).toBe(whole);
    }
  });
});

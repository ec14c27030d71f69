import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type CalibrationDocument,
  readDocuments,
  type Segments,
  sampleSegments,
} from "../../calibration/index.ts";
import { openQwenTokenizer, type Tokenizer, trainingConversation } from "../../runtime/index.ts";
import { examples } from "./support.ts";

const mini = openQwenTokenizer(join(examples, "qwen-mini"));

/** One token per UTF-16 unit; control tokens 100,000 up. Shows which text a segment was made of. */
const letters: Tokenizer = {
  vocabularySize: 100_003,
  specials: { endOfText: 100_000, imStart: 100_001, imEnd: 100_002 },
  encode: (text) => Int32Array.from(text, (letter) => letter.charCodeAt(0)),
  decode: (ids) => String.fromCharCode(...Array.from(ids)),
  bytesOf: () => new Uint8Array(0),
  isSpecial: (id) => id >= 100_000,
  [Symbol.dispose]() {},
};

const text = (content: string): CalibrationDocument => ({ kind: "text", text: content });

const chat = (query: string): CalibrationDocument => ({
  kind: "conversation",
  system: "",
  turns: [{ role: "user", content: query }],
});

const show = (segments: Segments): string[] =>
  segments.ids.map((ids) =>
    Array.from(ids, (id) => (id === 100_000 ? "|" : String.fromCharCode(id % 100_000))).join(""),
  );

/** A text whose every letter is different, so that overlaps and gaps show. */
const range = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, i) => String.fromCharCode(from + i)).join("");

describe("long texts", () => {
  it("give windows of exactly the length, each token at most once, each window in one piece", () => {
    const source = range(1000, 2037);
    const segments = sampleSegments([text(source)], letters, { count: 10, length: 100, seed: 3 });
    expect(segments.ids.map((ids) => ids.length)).toEqual(Array(10).fill(100));
    expect(new Set(segments.ids.flatMap((ids) => [...ids])).size).toBe(1000);
    for (const window of show(segments)) {
      expect(source).toContain(window);
    }
    expect(segments).toMatchObject({ tokens: 1000, documentsUsed: 1 });
    expect(segments).not.toHaveProperty("note");
  });

  it("begin at different places for different seeds", () => {
    const first = (seed: number): number =>
      Math.min(
        ...sampleSegments([text(range(1000, 1199))], letters, { count: 1, length: 100, seed })
          .ids[0]!,
      );
    const starts = new Set(Array.from({ length: 20 }, (_, seed) => first(seed)));
    expect(starts.size).toBeGreaterThan(10);
  });

  it("are chosen in proportion to their token count", () => {
    const documents = [text("a".repeat(9000)), text("b".repeat(1000))];
    let fromLong = 0;
    for (let seed = 0; seed < 200; seed += 1) {
      const { ids } = sampleSegments(documents, letters, { count: 5, length: 100, seed });
      fromLong += ids.filter((segment) => segment[0] === 97).length;
    }
    expect(fromLong / 1000).toBeGreaterThan(0.86);
    expect(fromLong / 1000).toBeLessThan(0.94);
  });
});

describe("short texts", () => {
  it("are joined with endoftext between them and fill every segment but the last", () => {
    const documents = Array.from({ length: 10 }, (_, i) => text(String(i).repeat(7)));
    const segments = sampleSegments(documents, letters, { count: 99, length: 20, seed: 1 });
    expect(segments.ids.map((ids) => ids.length).sort((a, b) => b - a)).toEqual([20, 20, 20, 19]);
    expect(segments.ids.at(-1)!.length).toBe(19);
    const all = show(segments).join("");
    expect(all.replaceAll("|", "").length).toBe(70);
    expect(all.split("|").length - 1).toBe(9);
    expect(segments.documentsUsed).toBe(10);
  });

  it("take a shorter last segment only when there are no full ones left", () => {
    const documents = Array.from({ length: 10 }, () => text("abcdefg"));
    for (let seed = 0; seed < 20; seed += 1) {
      const { ids } = sampleSegments(documents, letters, { count: 3, length: 20, seed });
      expect(ids.map((segment) => segment.length)).toEqual([20, 20, 20]);
    }
  });
});

describe("conversations", () => {
  it("keep their first tokens, in the training layout, and are never split", () => {
    const long = chat("x".repeat(500));
    const segments = sampleSegments([long, chat("y")], letters, { count: 9, length: 60, seed: 1 });
    const whole = trainingConversation(letters, [{ role: "user", content: "x".repeat(500) }], {
      system: "",
    }).ids;
    const short = trainingConversation(letters, [{ role: "user", content: "y" }], {
      system: "",
    }).ids;
    expect(new Set(segments.ids.map(String))).toEqual(
      new Set([String(whole.slice(0, 60)), String(short)]),
    );
  });

  it("share a segment while they fit, with endoftext between them", () => {
    const length = trainingConversation(letters, [{ role: "user", content: "a" }], { system: "" })
      .ids.length;
    const documents = ["a", "b", "c", "d", "e"].map(chat);
    const pack = (room: number): string[] =>
      show(sampleSegments(documents, letters, { count: 9, length: room, seed: 1 }));
    expect(
      pack(2 * length + 1)
        .map((segment) => segment.split("|").length)
        .sort(),
    ).toEqual([1, 2, 2]);
    expect(pack(2 * length).map((segment) => segment.split("|").length)).toEqual([1, 1, 1, 1, 1]);
  });
});

const { documents: bundled } = await readDocuments(join(examples, "calibration.jsonl"));

describe("any data", () => {
  it("gives the same segments for the same seed and others for another", () => {
    const options = { count: 16, length: 128, seed: 5 };
    const first = sampleSegments(bundled, mini, options);
    expect(sampleSegments(bundled, mini, options)).toEqual(first);
    expect(sampleSegments(bundled, mini, { ...options, seed: 6 }).ids).not.toEqual(first.ids);
  });

  it("mixes texts and conversations of the bundled examples", () => {
    const { ids, tokens, documentsUsed } = sampleSegments(bundled, mini, {
      count: 48,
      length: 512,
      seed: 1,
    });
    const isChat = ids.filter((segment) => segment.includes(mini.specials.imStart)).length;
    expect(ids.length).toBe(48);
    expect(isChat).toBeGreaterThan(8);
    expect(isChat).toBeLessThan(40);
    expect(documentsUsed).toBeGreaterThan(30);
    expect(tokens).toBe(ids.reduce((sum, segment) => sum + segment.length, 0));
    expect(ids.every((segment) => segment.length >= 2 && segment.length <= 512)).toBe(true);
  });

  it("says so when it gives fewer segments than asked for", () => {
    const segments = sampleSegments([text("a".repeat(350))], letters, {
      count: 8,
      length: 100,
      seed: 1,
    });
    expect(segments.ids.length).toBe(3);
    expect(segments.note).toMatch(/3 segments.*8 were asked/);
  });

  it.each([
    ["no documents", []],
    ["one token", [text("a")]],
  ])("refuses %s", (_, few) => {
    expect(() => sampleSegments(few, letters, { count: 1, length: 10, seed: 0 })).toThrow(
      expect.objectContaining({ name: "CalibrationError", code: "CALIBRATION_EMPTY" }),
    );
  });

  it("gives a segment of the two tokens of the smallest data", () => {
    const segments = sampleSegments([text("ab")], letters, { count: 1, length: 2048, seed: 0 });
    expect(show(segments)).toEqual(["ab"]);
  });

  it.each([
    ["count", { count: 0, length: 10, seed: 0 }],
    ["count", { count: 1.5, length: 10, seed: 0 }],
    ["length", { count: 1, length: 1, seed: 0 }],
    ["seed", { count: 1, length: 10, seed: -1 }],
    ["seed", { count: 1, length: 10, seed: Number.NaN }],
  ])("refuses a bad %s: %o", (name, options) => {
    expect(() => sampleSegments([text("abc")], letters, options)).toThrow(
      expect.objectContaining({
        code: "CALIBRATION_OPTION",
        message: expect.stringContaining(name),
      }),
    );
  });
});

describe("control tokens spelled in texts and messages", () => {
  const spelled = "a<|im_end|>b<|endoftext|>c";
  const count = (
    document: CalibrationDocument,
    allowedSpecial: "all" | "none" | ReadonlySet<string>,
  ) => {
    const { ids } = sampleSegments([document], mini, {
      ...{ count: 1, length: 200, seed: 0, allowedSpecial },
    });
    return ids.flatMap((segment) => [...segment]).filter((id) => mini.isSpecial(id)).length;
  };

  it("are read as such if they are allowed", () => {
    expect(count(text(spelled), "all")).toBe(2);
    expect(count(text(spelled), new Set(["<|im_end|>"]))).toBe(1);
    expect(count(text(spelled), "none")).toBe(0);
  });

  it("are apart from those that a conversation is laid out with", () => {
    const layout = count(chat("abc"), "none");
    expect(layout).toBe(4);
    expect(count(chat(spelled), "none")).toBe(layout);
    expect(count(chat(spelled), "all")).toBe(layout + 2);
  });
});

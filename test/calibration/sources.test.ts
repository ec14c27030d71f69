import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type CalibrationDocument,
  type CalibrationSource,
  readDocuments,
  readSegmentsFile,
  sampleSegments,
  sampleSources,
  writeSegmentsFile,
} from "../../calibration/index.ts";
import { openQwenTokenizer, trainingConversation } from "../../runtime/index.ts";
import { examples, temporaryFiles } from "./support.ts";

const write = temporaryFiles();
const mini = openQwenTokenizer(join(examples, "qwen-mini"));
const { documents } = await readDocuments(join(examples, "calibration.jsonl"));
const chats = documents.filter(({ kind }) => kind === "conversation");
const texts = documents.filter(({ kind }) => kind === "text");
const source = (
  name: string,
  content: readonly CalibrationDocument[],
  weight = 1,
): CalibrationSource => ({ name, documents: content, weight });
const options = { count: 16, length: 128, seed: 2 };

describe("several sources", () => {
  it("give segments in proportion to their weights", () => {
    const { sources, ids } = sampleSources(
      [source("a", texts, 3), source("b", chats)],
      mini,
      options,
    );
    expect(sources.map(({ segments }) => segments)).toEqual([12, 4]);
    expect(ids.slice(12).every((segment) => segment.includes(mini.specials.imStart))).toBe(true);
    expect(ids.slice(0, 12).some((segment) => segment.includes(mini.specials.imStart))).toBe(false);
  });

  it("do not change what the first gives", () => {
    const alone = sampleSegments(texts, mini, { ...options, count: 8 });
    const mixed = sampleSources([source("a", texts), source("b", chats)], mini, options);
    expect(mixed.ids.slice(0, 8)).toEqual(alone.ids);
  });

  it("make up for one that runs out, and say so", () => {
    const few = sampleSources([source("few", texts.slice(0, 1)), source("b", chats)], mini, {
      ...options,
      length: 512,
    });
    const [first, second] = few.sources;
    expect(first!.segments).toBeLessThan(8);
    expect(first!.segments + second!.segments).toBe(16);
    expect(few.note).toContain("few gives");
  });
});

describe("tokens that count", () => {
  it("are those of the training loss, under the same segments", () => {
    const all = sampleSegments(chats, mini, options);
    const some = sampleSegments(chats, mini, { ...options, scope: "assistant" });
    expect(some.ids).toEqual(all.ids);
    expect(all).not.toHaveProperty("masks");
    expect(some.counted).toBeLessThan(some.tokens);
    expect(some.counted).toBe(
      some.masks!.flatMap((mask) => [...mask]).filter((one) => one === 1).length,
    );
    const [chat] = chats;
    if (chat?.kind !== "conversation") throw new Error("no conversation");
    const { lossMask } = trainingConversation(mini, chat.turns, { system: chat.system });
    const [mask] = sampleSegments([chat], mini, { ...options, scope: "assistant" }).masks!;
    expect(mask).toEqual(lossMask.slice(0, 128));
  });

  it("do not include the separator between two conversations", () => {
    const short = (content: string): CalibrationDocument => ({
      kind: "conversation",
      system: "",
      turns: [{ role: "user", content }],
    });
    const { ids, masks } = sampleSegments([short("a"), short("b")], mini, {
      ...options,
      scope: "assistant",
    });
    const at = ids[0]!.indexOf(mini.specials.endOfText);
    expect(at).toBeGreaterThan(0);
    expect(masks![0]![at]).toBe(0);
  });

  it("are all those of texts, with a note", () => {
    const { tokens, counted, note } = sampleSegments(texts, mini, {
      ...options,
      scope: "assistant",
    });
    expect(counted).toBe(tokens);
    expect(note).toContain("no roles");
  });
});

describe("ready-made ids", () => {
  const tokens = (length: number, first = 0): CalibrationDocument => ({
    kind: "tokens",
    ids: Int32Array.from({ length }, (_, i) => first + i),
  });

  it("are segments as they stand, cut only where they are longer", () => {
    const { ids } = sampleSegments([tokens(20), tokens(5, 50), tokens(1)], mini, {
      ...options,
      length: 16,
    });
    const sorted = ids.map((segment) => [...segment]).sort((a, b) => a[0]! - b[0]!);
    const range = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, i) => from + i);
    expect(sorted).toEqual([range(0, 16), range(16, 20), range(50, 55)]);
  });

  it("that are none of the tokenizer's are refused", () => {
    expect(() => sampleSegments([tokens(4, 2 ** 30)], mini, options)).toThrow(
      expect.objectContaining({ name: "CalibrationError", code: "CALIBRATION_ROW" }),
    );
  });
});

describe("a segments file", () => {
  it.each(["all", "assistant"] as const)("keeps segments and what counts: %s", (scope) => {
    const { ids, masks, tokens, counted } = sampleSegments(documents, mini, {
      count: 99,
      length: 200,
      seed: 1,
      scope,
    });
    const path = write(`${scope}.safetensors`, "");
    writeSegmentsFile(
      path,
      sampleSegments(documents, mini, { count: 99, length: 200, seed: 1, scope }),
    );
    expect(new Set(ids.map(({ length }) => length)).size).toBeGreaterThan(1);
    expect(readSegmentsFile(path)).toEqual({
      ...{ ids, tokens, counted, documentsUsed: ids.length, sources: [] },
      ...(masks === undefined ? {} : { masks }),
    });
  });
});

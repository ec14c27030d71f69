import { describe, expect, it } from "vitest";
import { createRandom } from "../../../runtime/generation/random.ts";
import { createStopMatcher, type StopOptions } from "../../../runtime/generation/stop.ts";

/** Pushes tokens as [id, text] until a stop, and tells what was shown and why it ended. */
function run(
  options: StopOptions,
  tokens: readonly (readonly [id: number, text: string])[],
  tail = "",
): { deltas: string[]; text: string; stop: unknown; pushed: number } {
  const matcher = createStopMatcher(options);
  const deltas: string[] = [];
  const report = (stop: unknown) => ({
    deltas,
    text: deltas.join(""),
    stop,
    pushed: deltas.length,
  });
  for (const [id, text] of tokens) {
    const step = matcher.push(id, text);
    deltas.push(step.text);
    if (step.stop !== null) {
      return report(step.stop);
    }
  }
  const last = matcher.finish(tail);
  deltas.push(last.text);
  return report(last.stop);
}

const letters = (text: string): [number, string][] =>
  [...text].map((letter) => [letter.charCodeAt(0), letter]);

describe("stop strings", () => {
  it("stop where the string begins, though it is cut across tokens", () => {
    const tokens: [number, string][] = [
      [1, "I see. Obser"],
      [2, "va"],
      [3, "tion:\n 4"],
      [4, "never"],
    ];
    expect(run({ strings: ["Observation:"] }, tokens)).toMatchObject({
      deltas: ["I see. ", "", ""],
      stop: { kind: "string", value: "Observation:" },
    });
  });

  it("show held text as soon as it cannot begin the string any more", () => {
    const { deltas, stop } = run({ strings: ["<end>"] }, letters("a<enx<e"));
    expect(deltas).toEqual(["a", "", "", "", "<enx", "", "", "<e"]);
    expect(stop).toBe(null);
  });

  it("stop at the earliest of several strings in one delta", () => {
    expect(run({ strings: ["late", "early"] }, [[1, "x early late"]])).toMatchObject({
      text: "x ",
      stop: { kind: "string", value: "early" },
    });
  });

  it("find a string whose beginning overlaps itself", () => {
    expect(run({ strings: ["aab"] }, letters("aaaab!"))).toMatchObject({ text: "aa", pushed: 5 });
  });

  it("find a string that the detokenizer's last text completes", () => {
    expect(run({ strings: ["é!"] }, [[1, "ok é"]], "!")).toMatchObject({
      text: "ok ",
      stop: { kind: "string", value: "é!" },
    });
  });
});

describe("stop ids", () => {
  it("end at once and show none of the sequence's text", () => {
    const tokens: [number, string][] = [
      [7, "hello"],
      [37763, "Observ"],
      [367, "ation"],
      [25, ":"],
      [9, "never"],
    ];
    expect(run({ ids: [[37763, 367, 25]] }, tokens)).toMatchObject({
      deltas: ["hello", "", "", ""],
      stop: { kind: "ids", ids: [37763, 367, 25] },
    });
  });

  it("release the text of a sequence that was begun and not finished", () => {
    const tokens: [number, string][] = [
      [1, "a"],
      [1, "b"],
      [2, "c"],
      [4, "d"],
    ];
    expect(run({ ids: [[1, 2, 3]] }, tokens).deltas).toEqual(["", "a", "", "bcd", ""]);
  });

  it("match a control token, which has no text", () => {
    expect(
      run({ ids: [[5], [6]] }, [
        [1, "a"],
        [6, ""],
      ]),
    ).toMatchObject({
      text: "a",
      stop: { kind: "ids", ids: [6] },
    });
  });

  it("take the longest of the sequences that end together", () => {
    expect(
      run({ ids: [[2], [1, 2]] }, [
        [1, "a"],
        [2, "b"],
      ]),
    ).toMatchObject({
      text: "",
      stop: { ids: [1, 2] },
    });
  });

  it("yield to a stop string that begins earlier", () => {
    expect(
      run({ ids: [[2]], strings: ["ab"] }, [
        [1, "xa"],
        [2, "b"],
      ]),
    ).toMatchObject({
      text: "x",
      stop: { kind: "string" },
    });
  });
});

describe("any tokens", () => {
  it("show the text before the first stop string, however the text is cut into tokens", () => {
    const random = createRandom(11);
    const strings = ["aba", "bb", "caca"];
    for (let round = 0; round < 500; round += 1) {
      const text = Array.from({ length: 12 }, () => "abc"[Math.floor(random() * 3)]).join("");
      const tokens: [number, string][] = [];
      for (let at = 0; at < text.length; ) {
        const size = 1 + Math.floor(random() * 4);
        tokens.push([1, text.slice(at, at + size)]);
        at += size;
      }
      // The first string to be complete ends the generation; among those complete by the same token,
      // the one that begins first.
      let seen = "";
      let expected = text;
      for (const [, piece] of tokens) {
        seen += piece;
        const starts = strings.map((value) => seen.indexOf(value)).filter((at) => at >= 0);
        if (starts.length > 0) {
          expected = text.slice(0, Math.min(...starts));
          break;
        }
      }
      expect(run({ strings }, tokens).text).toBe(expected);
    }
  });

  it("pass through untouched without stops", () => {
    expect(run({}, letters("abc"), "!").deltas).toEqual(["a", "b", "c", "!"]);
  });
});

describe("bad stops", () => {
  it.each([
    { ids: [[]] },
    { ids: [[1], [-1]] },
    { ids: [[1.5]] },
    { strings: [""] },
    { strings: ["a", ""] },
  ])("refuses %o", (options) => {
    expect(() => createStopMatcher(options)).toThrow(
      expect.objectContaining({ name: "GenerationError", code: "GENERATION_OPTION" }),
    );
  });
});

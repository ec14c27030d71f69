import { describe, expect, test } from "vitest";
import { commonLength, describeParting } from "../../../cli/compare/comparison.ts";
import { renderComparison } from "../../../cli/compare/rendering.ts";
import { besideOneAnother, breakLines, columnWidth } from "../../../cli/compare/two-columns.ts";
import { displayWidth } from "../../../cli/terminal/format.ts";
import { Output } from "../../../cli/terminal/output.ts";

describe("breaking lines", () => {
  test.each([
    ["short words on a line", 10, ["short ", "words on a ", "line"]],
    ["a\n\nb", 10, ["a\n", "\n", "b"]],
    ["unbreakable", 4, ["unbr", "eaka", "ble"]],
    ["春天来了，花开", 6, ["春天来", "了，花", "开"]],
    ["it 春天来了", 6, ["it 春", "天来了"]],
    ["", 4, []],
  ])("of %j at %i cells", (text, cells, expected) => {
    expect(breakLines(text, cells)).toEqual(expected);
  });

  test("loses nothing and is never wider than the column, ends apart", () => {
    const text = "  Ein sehr langer Satz, 春天来了，\tmit allem\n\nund noch einer é́ 😀 end. ";
    for (let cells = 2; cells < 40; cells++) {
      const lines = breakLines(text, cells);
      expect(lines.join("")).toBe(text);
      for (const line of lines) expect(displayWidth(line.trim())).toBeLessThanOrEqual(cells);
    }
  });
});

describe("two columns", () => {
  test("are padded by cells, also where characters take two, with what is common set apart", () => {
    const faint = (text: string) => `[${text}]`;
    const lines = besideOneAnother(
      { text: "春天 and then", faint: 3 },
      { text: "春天 or", faint: 3 },
      8,
      faint,
    );
    expect(lines).toEqual(["[春天 ]and[ │ ][春天 ]or", "then    [ │ ]"]);
  });

  test("need a terminal of some width", () => {
    expect(columnWidth(Number.POSITIVE_INFINITY)).toBeUndefined();
    expect(columnWidth(58)).toBeUndefined();
    expect(columnWidth(80)).toBe(38);
  });
});

const bytes = new Map<number, Uint8Array>([
  ...[..."abcdefgh"].map((letter, id) => [id, Buffer.from(letter)] as const),
  [8, Uint8Array.of(0xe6, 0x98)],
]);
const tokenizer = { vocabularySize: 9, bytesOf: (id: number) => bytes.get(id)! };

describe("where two outputs part", () => {
  const logs = (probabilities: readonly number[]) => Float32Array.from(probabilities, Math.log);
  // The last value of each is padding of the vocabulary, which has no token.
  const a = logs([0.02, 0.5, 0.3, 0.1, 0.04, 0.02, 0.01, 0.005, 0.005, 0.9]);
  const b = logs([0.02, 0.2, 0.3, 0.1, 0.04, 0.02, 0.01, 0.005, 0.305, 0.9]);

  test("are the likeliest of both, with both probabilities, and what was chosen", () => {
    const parting = describeParting(
      tokenizer,
      [
        [4, 1, 2],
        [4, 8],
      ],
      [a, b],
      2,
    );
    expect(parting.position).toBe(1);
    expect(parting.chosen.map(({ id, text }) => [id, text])).toEqual([
      [1, "b"],
      [8, "<0xE6><0x98>"],
    ]);
    expect(parting.candidates.map(({ id }) => id)).toEqual([1, 2, 8]);
    const [first, , last] = parting.candidates;
    expect(first?.probabilities.map((one) => one.toFixed(3))).toEqual(["0.500", "0.200"]);
    expect(last?.probabilities.map((one) => one.toFixed(3))).toEqual(["0.005", "0.305"]);
  });

  test("is after all they have in common", () => {
    expect(commonLength([1, 2, 3], [1, 2, 4])).toBe(2);
    expect(commonLength([1, 2], [1, 2, 4])).toBe(2);
    expect(commonLength([], [1])).toBe(0);
  });

  test("is shown with the choices marked, without what would reprogram a terminal", () => {
    const difference = describeParting(
      tokenizer,
      [
        [4, 1],
        [4, 8],
      ],
      [a, b],
      2,
    );
    const prompt = {
      ...{ prompt: "evil \u001b[2J prompt", outputs: ["e\u001b[31mb", "e?"] as const },
      ...{ tokens: [2, 2] as const, commonTokens: 1, commonText: "e", difference },
    };
    for (const columns of [30, 80, undefined]) {
      const stdout = { isTTY: columns !== undefined, columns: columns ?? 0, write: () => {} };
      const output = new Output({ color: false }, { stdout, stderr: stdout, variables: {} });
      const text = renderComparison(["float\u001b[1m", "int4"], [prompt], output);
      expect(text).not.toContain("\u001b");
      const [first, last] =
        columns === 30
          ? [/"b"\n.*: \* 50\.00\n.*: 20\.00/, /"<0xE6><0x98>"\n.*: 0\.50\n.*: \* 30\.50/]
          : [/"b" +\* 50\.00 +20\.00/, /"<0xE6><0x98>" +0\.50 +\* 30\.50/];
      expect(text).toMatch(first);
      expect(text).toMatch(last);
      expect(text.includes("│")).toBe(columns === 80);
      const widest = Math.max(...text.split("\n").map(displayWidth));
      expect(widest).toBeLessThanOrEqual(columns ?? Number.POSITIVE_INFINITY);
    }
  });
});

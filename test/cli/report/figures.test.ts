// What a report computes: histogram, positions, differing tokens, and words that hold whatever a file says.
import { describe, expect, test } from "vitest";
import { differingTokens } from "../../../cli/report/differing-tokens.ts";
import { findings } from "../../../cli/report/findings.ts";
import { html } from "../../../cli/report/html.ts";
import { klHistogram } from "../../../cli/report/kl-histogram.ts";
import { positionBuckets } from "../../../cli/report/positions.ts";
import { counted, figure, pValueText, signedPercent } from "../../../cli/report/words.ts";
import type { Difference, EvaluationRun } from "../../../cli/run-directory/format.ts";

describe("the histogram of KL divergences", () => {
  test("has every token in one bin, those of 0 and below in the first", () => {
    const values = Float32Array.of(0, -1e-8, 2e-5, 1.2e-4, 1.9e-4, 0.3, 0.3);
    const { edges, shares } = klHistogram([values])!;
    const [own = []] = shares;
    expect(own.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(own.length).toBe(edges.length - 1);
    expect(own[0]).toBeCloseTo(3 / 7, 12);
    const shareOf = (value: number) => own[edges.findIndex((edge) => edge > value) - 1];
    expect(shareOf(0.3)).toBeCloseTo(2 / 7, 12);
    expect(shareOf(1.2e-4)).toBeCloseTo(1 / 7, 12);
    expect(edges[0]).toBeLessThanOrEqual(2e-5);
    expect(edges.at(-1)).toBeGreaterThanOrEqual(0.3);
  });

  test("has the same bins for all models, and none where nothing differs", () => {
    const { shares } = klHistogram([Float32Array.of(1e-6), Float32Array.of(1)])!;
    expect(shares.map((own) => own.indexOf(1))).toEqual([0, 24]);
    expect(klHistogram([new Float32Array(5)])).toBeUndefined();
    expect(klHistogram([])).toBeUndefined();
  });
});

describe("perplexity by position", () => {
  const position = Uint32Array.from({ length: 64 }, (_, row) => 1 + (row % 16));
  const base = Float32Array.from(position, (at) => 5 - at / 8);

  test("groups positions by halves of a doubling and covers each once", () => {
    const buckets = positionBuckets({ position, losses: [base], divergences: [undefined] });
    expect(buckets.map(({ first, last }) => [first, last])).toEqual([
      ...[
        [1, 1],
        [2, 2],
        [3, 3],
        [4, 5],
        [6, 7],
        [8, 11],
        [12, 15],
        [16, 16],
      ],
    ]);
    expect(buckets.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(64);
    expect(buckets[0]?.perplexity[0]).toBeCloseTo(Math.exp(4.875), 4);
    expect(buckets[3]?.perplexity[0]).toBeCloseTo(Math.exp((4.5 + 4.375) / 2), 4);
  });

  test("gives the change against the first model with bounds that follow its spread", () => {
    const steady = base.map((loss) => loss + 0.01);
    const wild = base.map((loss, row) => loss + (row % 3 === 0 ? 1 : -0.5));
    const buckets = positionBuckets({ position, losses: [base, steady, wild], divergences: [] });
    const last = buckets.find(({ first }) => first === 12)!;
    expect(last.change[0]).toBeNull();
    expect(last.change[1]?.value).toBeCloseTo(Math.expm1(0.01), 6);
    expect(last.change[1]!.interval.high - last.change[1]!.interval.low).toBeLessThan(1e-6);
    expect(last.change[2]!.interval.low).toBeLessThan(0);
    expect(last.change[2]!.interval.high).toBeGreaterThan(0);
    // Four tokens say nothing of their spread.
    expect(buckets[0]?.change[1]).toBeNull();
  });
});

describe("differing tokens", () => {
  const marks = (base: string, pieces: string) =>
    differingTokens([...base], [...pieces])
      .map((differs, i) => (differs ? pieces[i]! : "."))
      .join("");

  test.each([
    ["abcd", "abcd", "...."],
    ["abcd", "abxcd", "..x.."],
    ["abcd", "acd", "..."],
    ["abcd", "wxyz", "wxyz"],
    ["abcd", "", ""],
    ["", "ab", "ab"],
  ])("of %j in %j are %j", (base, pieces, expected) => {
    expect(marks(base, pieces)).toBe(expected);
  });

  test("of very long outputs are all after the common beginning", () => {
    const base = Array.from({ length: 3000 }, (_, i) => `${i}`);
    const pieces = base.map((piece, i) => (i === 5 ? "x" : piece));
    const differs = differingTokens(base, pieces);
    expect(differs.indexOf(true)).toBe(5);
    expect(differs.filter((one) => one).length).toBe(2995);
  });
});

describe("words", () => {
  test.each([
    [0, "0"],
    [0.0117, "0.0117"],
    [1.1, "1.10"],
    [42.8077, "42.8"],
    [1234.5, "1235"],
    [0.000038, "3.80e−5"],
    [-2_500_000, "−2.50e6"],
  ])("of %d are %s", (value, expected) => expect(figure(value)).toBe(expected));

  test("have a sign that is no hyphen, and no sign for nothing", () => {
    expect(signedPercent(-0.0123)).toBe("−1.23 %");
    expect(signedPercent(0.00001)).toBe("0.00 %");
    expect(pValueText(0.00004)).toBe("< 0.001");
    expect(counted(["a", "b", "a", "a"])).toEqual(["a", "b", "a (2)", "a (3)"]);
  });

  test("from a file are text in a page", () => {
    const { text } =
      html`<p title="${`"'><b>`}">${["a & b", html`<i>${"<"}</i>`, undefined, false]}</p>`;
    expect(text).toBe(`<p title="&quot;&#39;&gt;&lt;b&gt;">a &amp; b<i>&lt;</i></p>`);
    expect(html`${"a\u0000b\u202ec\td\n"}`.text).toBe("a\ufffdb\ufffdc\td\n");
  });
});

describe("findings", () => {
  const difference = (value: number, isNoise: boolean): Difference => ({
    ...{ value, interval: { low: value - 1, high: value + 1 }, pValue: null, method: "m", isNoise },
  });
  const model = {
    dir: "",
    bitsPerWeight: null,
    scheme: null,
    quantizationReport: null,
    speed: null,
  };
  const runOf = (change: Difference, score: Difference, metric: string): EvaluationRun => ({
    ...{ format: 1, nibble: "0", command: "", startedAt: "", seconds: 1, samples: [] },
    machine: { cpu: "", threads: 1 },
    models: [
      { ...model, name: "float", weightBytes: 200 },
      { ...model, name: "int4", weightBytes: 50 },
    ],
    texts: [
      {
        ...{
          data: "a/b.txt",
          protocol: "",
          window: 8,
          stride: 8,
          windows: 1,
          scoredTokens: 7,
          tokens: "",
        },
        models: [
          { perplexity: 50, loss: 1, difference: null, divergence: null },
          { perplexity: 55, loss: 1, difference: change, divergence: null },
        ],
      },
    ],
    tasks: [
      {
        ...{ task: "t", title: "T", metric, items: 1, data: "", notes: [], answers: [] },
        models: [
          { score: 0.5, interval: { low: 0, high: 1 }, categories: [], difference: null },
          { score: 0.4, interval: { low: 0, high: 1 }, categories: [], difference: score },
        ],
      },
    ],
  });
  const said = (run: EvaluationRun) => findings(run)[0]?.text;

  test("call noise noise, and give what is more with its interval", () => {
    expect(said(runOf(difference(0.1, true), difference(-0.1, true), "accuracy"))).toBe(
      "25 % of the size; no difference of perplexity on b.txt that is more than noise; of 1 task 1 within noise.",
    );
    expect(said(runOf(difference(5, false), difference(-0.1, false), "accuracy"))).toBe(
      "25 % of the size; perplexity +10.00 % on b.txt (+8.00 % to +12.00 %); of 1 task 1 worse.",
    );
  });

  test("know metrics of which less is better", () => {
    const run = runOf(difference(5, false), difference(-0.1, false), "error rate, lower is better");
    expect(said(run)).toContain("of 1 task 1 better");
  });
});

// The default recipe on the first windows of two texts the model was not trained on. The whole texts, beside the
// stored figures of AutoGPTQ, are scored by end-to-end-full.ts.
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { sharedPath } from "../support/shared.ts";
import { referenceFiles, type Scores, scoreAgainstAutoGptq } from "./against-autogptq.ts";

const texts = { "the-lost-world": 60, "wikitext-2-test": 30 };
const names = Object.keys(texts);
const golden = sharedPath("golden", "perplexity.json");

type First60 = { first_60_windows_of_the_lost_world: { rows: Row[] } };
type Row = { scheme: string; perplexity: number };

describe.skipIf(golden === undefined || referenceFiles() === undefined)(
  "qwen-mini quantized by the default recipe, on the first windows",
  () => {
    let scores: Readonly<Record<string, Scores>> = {};
    beforeAll(async () => {
      scores = await scoreAgainstAutoGptq(texts);
    }, 600_000);

    test("the float model and AutoGPTQ's int4 file score what the original code measured", () => {
      const stored = JSON.parse(readFileSync(golden ?? "", "utf8")) as First60;
      const { rows } = stored.first_60_windows_of_the_lost_world;
      const expected = (scheme: string) =>
        rows.find((row) => row.scheme === scheme)?.perplexity.toPrecision(5);
      const actual = scores["the-lost-world"];
      expect(actual?.bf16.perplexity.toPrecision(5)).toBe(expected("bf16 (original code)"));
      expect(actual?.["int4-autogptq"].perplexity.toPrecision(5)).toBe(
        expected("AutoGPTQ int4-g128"),
      );
    });

    describe.each(names)("%s", (text) => {
      test.each(["int4", "int8"] as const)(
        "%s has at most 1.002 times the perplexity of AutoGPTQ's file",
        (kind) => {
          const { [kind]: ours, [`${kind}-autogptq` as const]: theirs } = scores[text] as Scores;
          expect(ours.perplexity).toBeLessThanOrEqual(1.002 * theirs.perplexity);
        },
      );

      test.each(["int4", "int8"] as const)(
        "%s diverges no more from the float model than AutoGPTQ's file",
        (kind) => {
          const { [kind]: ours, [`${kind}-autogptq` as const]: theirs } = scores[text] as Scores;
          expect(ours.divergence?.meanKl).toBeLessThanOrEqual(theirs.divergence?.meanKl ?? 0);
        },
      );
    });
  },
);

// The default recipe on the whole texts of AutoGPTQ's stored figures, which takes minutes and is therefore not part of
// `npm test`: npx vitest run --config test/quantizer/vitest.full.config.ts
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { sharedPath } from "../support/shared.ts";
import { referenceFiles, type Scores, scoreAgainstAutoGptq } from "./against-autogptq.ts";

/** The stored figures of wikitext-2 were made on its first 200 windows. */
const texts = { "the-lost-world": Number.POSITIVE_INFINITY, "wikitext-2-test": 200 };
const names = Object.keys(texts);
const golden = sharedPath("golden", "perplexity.json");

type Rows = { rows: { scheme: string; [text: string]: number | string }[] };

function storedPerplexity(scheme: string, text: string): number {
  const { rows } = JSON.parse(readFileSync(golden ?? "", "utf8")) as Rows;
  return Number(rows.find((row) => row.scheme === scheme)?.[text] ?? Number.NaN);
}

describe.skipIf(golden === undefined || referenceFiles() === undefined)(
  "qwen-mini quantized by the default recipe",
  () => {
    let scores: Readonly<Record<string, Scores>> = {};
    beforeAll(async () => {
      scores = await scoreAgainstAutoGptq(texts);
    }, 1_200_000);

    describe.each(names)("%s", (text) => {
      test.each([
        ["bf16", "bf16"],
        ["int4-autogptq", "int4-g128-gptq"],
        ["int8-autogptq", "int8-g128-gptq"],
      ] as const)("%s scores the stored %s to four digits", (subject, scheme) => {
        const { perplexity } = (scores[text] as Scores)[subject];
        expect(perplexity.toPrecision(4)).toBe(storedPerplexity(scheme, text).toPrecision(4));
      });

      test.each(["int4", "int8"] as const)(
        "%s has at most 1.002 times the stored perplexity of AutoGPTQ",
        (kind) => {
          const { perplexity } = (scores[text] as Scores)[kind];
          expect(perplexity).toBeLessThanOrEqual(
            1.002 * storedPerplexity(`${kind}-g128-gptq`, text),
          );
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

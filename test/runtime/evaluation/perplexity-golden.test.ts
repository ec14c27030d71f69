import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import { cutWindows, openModel, openQwenTokenizer, scoreModels } from "../../../runtime/index.ts";
import { repositoryPath, sharedPath } from "../../support/shared.ts";

const golden = sharedPath("golden", "perplexity.json");
type Rows = { rows: { scheme: string; [text: string]: number | string }[] };

describe.skipIf(golden === undefined)("perplexity of qwen-mini", () => {
  // The stored figure of wikitext-2 was made on its first 200 windows.
  test.each([
    ["the-lost-world", Number.POSITIVE_INFINITY],
    ["wikitext-2-test", 200],
  ])("on %s equals the original code's to four digits", async (text, count) => {
    const { rows } = JSON.parse(readFileSync(golden ?? "", "utf8")) as Rows;
    const expected = rows.find(({ scheme }) => scheme === "bf16")?.[text] as number;
    using device = openDevice();
    using model = openModel(repositoryPath("examples/qwen-mini"), device);
    using tokenizer = openQwenTokenizer(repositoryPath("examples/qwen-mini"));
    const content = readFileSync(sharedPath("data", "eval", `${text}.txt`) ?? "", "utf8");
    const windows = cutWindows(tokenizer.encode(content), { length: 512, stride: 512 });
    const [score] = await scoreModels([model], windows.slice(0, count));
    console.info(`${text}: ${score?.perplexity} (original code: ${expected})`);
    expect(score?.perplexity.toPrecision(4)).toBe(expected.toPrecision(4));
  });
});

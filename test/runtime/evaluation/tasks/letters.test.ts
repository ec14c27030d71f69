// The tokens of letters under Qwen's own vocabulary, which the bundled model's is not.
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openQwenTokenizer } from "../../../../runtime/index.ts";
import { sharedPath } from "../../../support/shared.ts";
import { temporaryDirectory } from "../../../support/tiny-checkpoint.ts";

const vocabulary = sharedPath("tokenizer", "qwen.tiktoken");
const temporary = temporaryDirectory();
afterAll(() => temporary.remove());

test.skipIf(vocabulary === undefined)("are those that Qwen's scripts compare", () => {
  copyFileSync(vocabulary ?? "", join(temporary.path, "qwen.tiktoken"));
  writeFileSync(join(temporary.path, "tokenizer_config.json"), "{}");
  using tokenizer = openQwenTokenizer(temporary.path);
  const ids = (texts: readonly string[]) => texts.map((text) => [...tokenizer.encode(text)]);
  expect(ids([" A", " B", " C", " D"])).toEqual([[362], [425], [356], [422]]);
  expect(ids(["A", "B", "C", "D"])).toEqual([[32], [33], [34], [35]]);
});

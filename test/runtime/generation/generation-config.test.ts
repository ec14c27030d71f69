import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readGenerationConfig } from "../../../runtime/index.ts";
import { repositoryPath } from "../../support/shared.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../support/tiny-checkpoint.ts";

describe("generation_config.json", () => {
  let dir: TemporaryDirectory;
  beforeEach(() => {
    dir = temporaryDirectory();
  });
  afterEach(() => dir.remove());
  const write = (content: object) =>
    writeFileSync(join(dir.path, "generation_config.json"), JSON.stringify(content));

  test("of a chat model gives its format, limits and sampling", () => {
    expect(readGenerationConfig(repositoryPath("examples/qwen-mini"))).toEqual({
      chatFormat: "chatml",
      maxNewTokens: 256,
      maxWindow: 1536,
      sampling: {
        temperature: 1,
        topK: 0,
        topP: 0.8,
        repetitionPenalty: 1.1,
        ...{ minP: 0, presencePenalty: 0, frequencyPenalty: 0 },
        seed: 1234,
      },
    });
  });

  test("that is missing means greedy decoding", () => {
    expect(readGenerationConfig(dir.path)).toMatchObject({
      chatFormat: undefined,
      sampling: { temperature: 0, repetitionPenalty: 1 },
    });
  });

  test("without do_sample is greedy whatever its temperature", () => {
    write({ do_sample: false, temperature: 0.7 });
    expect(readGenerationConfig(dir.path).sampling.temperature).toBe(0);
  });

  test("with null in a field means the same as without the field", () => {
    write({ do_sample: true, top_k: null, max_new_tokens: null });
    const config = readGenerationConfig(dir.path);
    write({ do_sample: true });
    expect(config).toEqual(readGenerationConfig(dir.path));
  });

  test.each([{ top_p: 2 }, { max_new_tokens: 0 }, { do_sample: "yes" }])(
    "is refused with the field's name when it holds %j",
    (content) => {
      write(content);
      expect(() => readGenerationConfig(dir.path)).toThrow(
        expect.objectContaining({
          code: "CHECKPOINT_CONFIG",
          message: expect.stringContaining(Object.keys(content)[0]!),
        }),
      );
    },
  );
});

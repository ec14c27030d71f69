import { describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import {
  defaultSampling,
  generate,
  openModel,
  openQwenTokenizer,
  PrefixCache,
  PromptLookup,
  type SamplingOptions,
} from "../../../runtime/index.ts";
import { repositoryPath } from "../../support/shared.ts";

describe("a proposal", () => {
  test("is what followed the last three tokens where they stood last, or else the last two", () => {
    const lookup = new PromptLookup();
    const history = [1, 2, 3, 4, 9, 2, 3, 7, 8, 1, 2, 3];
    expect(lookup.propose(history, 10)).toEqual([4, 9]);
    expect(new PromptLookup().propose([5, 6, 1, 2, 8, 5, 6], 10)).toEqual([1, 2]);
    expect(new PromptLookup().propose([1, 2, 3, 4], 10)).toEqual([]);
    expect(new PromptLookup().propose([1], 10)).toEqual([]);
  });

  test("grows while it is right, up to the longest, and pauses when it is wrong", () => {
    const lookup = new PromptLookup(6);
    const history = Array.from({ length: 60 }, (_, i) => i % 20);
    const lengths: number[] = [];
    for (let i = 0; i < 4; i++) {
      const { length } = lookup.propose(history, 100);
      lengths.push(length);
      lookup.settle(length, length);
    }
    expect(lengths).toEqual([2, 5, 6, 6]);
    expect(lookup.propose(history, 3)).toHaveLength(3);
    lookup.settle(3, 0);
    expect(lookup.propose(history, 100)).toEqual([]);
    expect(lookup.propose(history, 100)).toHaveLength(1);
    expect({ ...lookup }).toMatchObject({ steps: 6, proposed: 23, accepted: 19 });
  });
});

const source = repositoryPath("examples", "qwen-mini");
const story = "The dinosaur came down to the water. The plateau was still. ";
const prompts = [story.repeat(3), "Once upon a time", "a b c a b c a b", "1 2 3 4 5 1 2 3"];
const settings: readonly Partial<SamplingOptions>[] = [
  { temperature: 0 },
  { temperature: 0, repetitionPenalty: 1.1 },
  { temperature: 0.7, topP: 0.8 },
  { temperature: 1, topK: 5, repetitionPenalty: 1.05 },
];

describe.each(settings)("generating with %j and prompt lookup", (setting) => {
  test("gives the tokens of generating without", async () => {
    using device = openDevice({ threads: 2 });
    using model = openModel(source, device, { head: "screened" });
    using tokenizer = openQwenTokenizer(source);
    using cache = new PrefixCache(4);
    let accepted = 0;
    for (const [seed, prompt] of prompts.entries()) {
      const request = {
        prompt: tokenizer.encode(prompt),
        maxNewTokens: 60,
        sampling: { ...defaultSampling, repetitionPenalty: 1, ...setting, seed },
        allowed: tokenizer.vocabularySize,
        stopIds: [[tokenizer.specials.endOfText]],
      };
      const run = async (lookup?: PromptLookup, kept?: PrefixCache) => {
        const ids: number[] = [];
        for await (const id of generate(model, { ...request, lookup, cache: kept })) ids.push(id);
        return ids;
      };
      const expected = await run();
      const lookup = new PromptLookup();
      expect(await run(lookup)).toEqual(expected);
      expect(await run(new PromptLookup(30), cache)).toEqual(expected);
      expect(lookup.accepted).toBeLessThanOrEqual(lookup.proposed);
      accepted += lookup.accepted;
    }
    // A greedy small model repeats itself.
    if (setting.temperature === 0 && setting.repetitionPenalty === undefined) {
      expect(accepted).toBeGreaterThan(30);
    }
  });
});

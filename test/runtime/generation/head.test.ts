import { describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import {
  defaultSampling,
  generate,
  type HeadMode,
  openModel,
  openQwenTokenizer,
} from "../../../runtime/index.ts";
import { repositoryPath } from "../../support/shared.ts";

const source = repositoryPath("examples", "qwen-mini");
const prompts = ["Once upon a time", "The dinosaur", "讲故事", "2 + 2 =", "<|im_start|>user\n"];

async function answers(head: HeadMode, temperature: number): Promise<readonly number[][]> {
  using device = openDevice({ threads: 2 });
  using model = openModel(source, device, { head });
  using tokenizer = openQwenTokenizer(source);
  const all: number[][] = [];
  for (const [seed, prompt] of prompts.entries()) {
    const ids: number[] = [];
    const sampling = { ...defaultSampling, temperature, repetitionPenalty: 1, seed };
    const request = { prompt: tokenizer.encode(prompt), maxNewTokens: 40, sampling };
    for await (const id of generate(model, { ...request, allowed: tokenizer.vocabularySize })) {
      ids.push(id);
    }
    all.push(ids);
  }
  return all;
}

describe("a screened head", () => {
  test("chooses the tokens of the exact head, greedily", async () => {
    expect(await answers("screened", 0)).toEqual(await answers("exact", 0));
  });

  test("draws the tokens of the exact head", async () => {
    expect(await answers("screened", 1)).toEqual(await answers("exact", 1));
  });
});

test("an int8 head gives other logits", async () => {
  using device = openDevice({ threads: 2 });
  using exact = openModel(source, device);
  using rounded = openModel(source, device, { head: "int8" });
  const hidden = device.from("f32", new Float32Array(exact.shape.width).fill(0.3), [
    1,
    exact.shape.width,
  ]);
  const [a, b] = [await exact.logits(hidden).read(), await rounded.logits(hidden).read()];
  const largest = Math.max(...a.map(Math.abs));
  const difference = Math.max(...a.map((value, i) => Math.abs(value - (b[i] ?? 0))));
  expect(difference).toBeGreaterThan(0);
  expect(difference).toBeLessThan(0.05 * largest);
});

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import {
  cacheBytesPerToken,
  cacheDtypes,
  KvCache,
  openModel,
  openQwenTokenizer,
} from "../../../runtime/index.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { repositoryPath } from "../../support/shared.ts";
import { expectSameBits } from "../../support/tolerance.ts";

const source = repositoryPath("examples", "qwen-mini");
const shape = { layers: 3, kvHeads: 2, headDim: 40 };

describe.each(cacheDtypes)("a cache of %s", (dtype) => {
  test("takes the bytes per token that it says, and gives them back", () => {
    using device = openDevice({ threads: 1 });
    const before = device.memory().live;
    const cache = new KvCache(device, { ...shape, dtype, tokens: 128, blockSize: 64 });
    const bytes = { f32: 960, f16: 480, bf16: 480, int8: 240 + 24 }[dtype] * 2;
    expect(cacheBytesPerToken({ ...shape, dtype })).toBe(bytes);
    expect(device.memory().live - before).toBe(128 * bytes);
    cache[Symbol.dispose]();
    expect(device.memory().live).toBe(before);
  });

  test("has a block that no sequence gets, where one is asked for", () => {
    using device = openDevice({ threads: 1 });
    const before = device.memory().live;
    const sized = { ...shape, dtype, tokens: 128, blockSize: 32 };
    using cache = new KvCache(device, { ...sized, hasIdleBlock: true });
    expect(device.memory().live - before).toBe((128 + 32) * cacheBytesPerToken(sized));
    const sequence = cache.open();
    cache.extend(sequence, 128);
    expect([cache.blocks, cache.freeTokens, cache.idleBlock]).toEqual([4, 0, 4]);
    expect(sequence.blocks.toSorted()).toEqual([0, 1, 2, 3]);
    expect(() => cache.extend(sequence, 1)).toThrow(/room for 0 more tokens/);
  });

  test("makes the same logits, bit for bit, however the text is cut into steps", async () => {
    using device = openDevice({ threads: 2 });
    using model = openModel(source, device, { kvCache: dtype });
    const tokens = Int32Array.from({ length: 40 }, (_, i) => (i * 37) % 3000);
    const whole = await sequenceLogits(model, tokens);
    const chunks = [17, 1, 1, 20, 1];
    expectSameBits(await sequenceLogits(model, tokens, chunks), whole, dtype);
  });
});

// Rounding moves a logit by less than the difference between two likely tokens, nearly everywhere.
test("keys and values of 8 bits leave nearly all choices as they are, and are not exact", async () => {
  const text = readFileSync(repositoryPath("examples", "evaluation.txt"), "utf8");
  using tokenizer = openQwenTokenizer(source);
  const tokens = Int32Array.from(tokenizer.encode(text.slice(0, 2000)).slice(0, 200));
  using device = openDevice({ threads: 2 });
  const choices = async (dtype: (typeof cacheDtypes)[number]) => {
    using model = openModel(source, device, { kvCache: dtype });
    const { vocabulary } = model.shape;
    const logits = await sequenceLogits(model, tokens);
    const rows = Array.from(tokens, (_, i) =>
      logits.subarray(i * vocabulary, (i + 1) * vocabulary),
    );
    return { logits, tokens: rows.map((row) => row.indexOf(Math.max(...row))) };
  };
  const exact = await choices("f32");
  const rounded = await choices("int8");
  expect(rounded.logits).not.toEqual(exact.logits);
  const same = exact.tokens.filter((token, i) => token === rounded.tokens[i]).length;
  expect(same).toBeGreaterThanOrEqual(0.98 * tokens.length);
});

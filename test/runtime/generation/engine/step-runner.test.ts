// Which steps are captured, and which of those are kept.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { StepRunner } from "../../../../runtime/generation/engine/step-runner.ts";
import { defaultSampling, KvCache, openModel } from "../../../../runtime/index.ts";
import { type Implementation, openImplementation } from "../../../support/kernels.ts";
import { temporaryDirectory, writeTinyQwen } from "../../../support/tiny-checkpoint.ts";

const work = temporaryDirectory();
const source = join(work.path, "tiny");
beforeAll(() => writeTinyQwen(source));
afterAll(work.remove);

const kinds = ["greedy", "drawn", "logits"] as const;

/** A runner for 16 sequences, as an engine has it on such a device. */
function open(implementation: Implementation) {
  const device = openImplementation(implementation);
  const model = openModel(source, device, { kvCache: "f16" });
  const hasIdleBlock = implementation === "cuda";
  const shape = { ...model.shape, dtype: "f16", tokens: 512, blockSize: 16 } as const;
  const cache = new KvCache(device, { ...shape, hasIdleBlock });
  const limits = { maxBlocks: 4, blockSize: 16, allowed: 128, maxRunning: 16 };
  const runner = new StepRunner(model, cache, limits);
  const capture = vi.spyOn(device, "capture");
  return {
    capture,
    /** The first tokens of so many sequences. */
    step: (count: number, kind: (typeof kinds)[number] = "greedy") => {
      const parts = Array.from({ length: count }, (_, i) => ({
        ...{ tokens: [3 + i], start: 0, blocks: [i], ropeBase: 10_000, isWanted: true },
      }));
      const rows = parts.map((_, i) => ({ options: defaultSampling, uniform: i / count }));
      return runner.run(parts, kind === "drawn" ? { kind, rows } : { kind });
    },
    [Symbol.dispose]() {
      for (const each of [runner, cache, model, device]) each[Symbol.dispose]();
    },
  };
}

describe("on cuda", () => {
  test.each(kinds)("a filled step's result is that of the step as it is, %s", async (kind) => {
    using filled = open("cuda");
    for (const count of [5, 3, 1, 7]) {
      using once = open("cuda");
      // The first of all is not captured: it loads the model.
      const expected = await once.step(count, kind);
      expect(once.capture).not.toHaveBeenCalled();
      // The second replay is where a GPU makes a graph of it.
      for (let i = 0; i < 3; i++) expect(await filled.step(count, kind)).toEqual(expected);
    }
    expect(filled.capture).toHaveBeenCalledTimes(3);
  });

  test("captured steps are kept as long as they have no more rows than four of 16", async () => {
    using place = open("cuda");
    const { step, capture } = place;
    await step(1);
    for (const kind of ["greedy", "drawn"] as const)
      for (const size of [1, 2, 4, 8, 16]) await step(size, kind);
    expect(capture).toHaveBeenCalledTimes(10);
    for (const kind of ["greedy", "drawn"] as const)
      for (const size of [1, 2, 3, 5, 9]) await step(size, kind);
    expect(capture).toHaveBeenCalledTimes(10);
    // 62 rows and 16 more: the oldest go, which are the greedy ones of 1, 2, 4 and 8.
    await step(16, "logits");
    await step(16);
    await step(1, "drawn");
    expect(capture).toHaveBeenCalledTimes(11);
    await step(8);
    expect(capture).toHaveBeenCalledTimes(12);
  });
});

test("on the processor a size that comes twice in a row is captured as it is, and four are kept", async () => {
  using place = open("scalar");
  const { step, capture } = place;
  const sizes = [3, 5, 6, 7];
  for (const size of sizes) await step(size);
  expect(capture).not.toHaveBeenCalled();
  for (const size of sizes) for (let i = 0; i < 2; i++) await step(size);
  for (const size of sizes) await step(size);
  expect(capture).toHaveBeenCalledTimes(4);
  for (let i = 0; i < 2; i++) await step(8);
  expect(capture).toHaveBeenCalledTimes(5);
  await step(5);
  expect(capture).toHaveBeenCalledTimes(5);
  for (let i = 0; i < 2; i++) await step(3);
  expect(capture).toHaveBeenCalledTimes(6);
});

import { expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { Machine, profile, runRounds, stepBytes, trafficOf } from "../../runtime/bench/index.ts";
import { openModel } from "../../runtime/index.ts";
import { repositoryPath } from "../support/shared.ts";

const source = repositoryPath("examples", "qwen-mini");

test("a step's bytes are its weights, the head and what it sees of the cache", () => {
  using device = openDevice({ threads: 1 });
  using model = openModel(source, device);
  const { width, layers, vocabulary, kvHeads, headDim } = model.shape;
  let weights = 0;
  for (const [name, shape] of model.tensorShapes()) {
    const isOfLinear = /\.(c_attn|c_proj|w1|w2)\.(weight|bias)$/.test(name);
    if (isOfLinear) weights += shape.reduce((product, extent) => product * extent, 1);
  }
  const exact = trafficOf(model, "exact");
  expect(exact.blockBytes).toBe(2 * weights);
  expect(exact.headBytes).toBe(2 * vocabulary * width);
  expect(exact.cacheBytesPerToken).toBe(2 * layers * kvHeads * headDim * 4);
  expect(trafficOf(model, "screened").headBytes).toBe(vocabulary * width * (1 + 2 / 128));
  const alone = stepBytes(exact, [10]);
  expect(stepBytes(exact, [10, 20])).toBe(alone + 20 * exact.cacheBytesPerToken);
});

test("a machine's rates are positive, and absent where an instruction is", async () => {
  using device = openDevice({ threads: 2, isa: "scalar" });
  using machine = new Machine(device, 2 ** 20);
  const { bandwidth, peaks } = await machine.measure();
  expect(bandwidth).toBeGreaterThan(0);
  expect(Object.keys(peaks)).toEqual(["f32", "int16", "int8"]);
  expect(Object.values(peaks).every((peak) => peak > 0)).toBe(true);
});

test("rounds give speeds whose medians lie between the least and the most", async () => {
  using device = openDevice({ threads: 2 });
  using model = openModel(source, device, { head: "screened" });
  const seen: number[] = [];
  const result = await runRounds(model, device, {
    ...{ rounds: 2, context: 5, tokens: 3, batch: 2, prefill: 9 },
    ...{ head: "screened", bufferBytes: 2 ** 20, onRound: (round: number) => seen.push(round) },
  });
  expect(seen).toEqual([1, 2]);
  expect(result.rounds).toHaveLength(2);
  for (const { median, least, most } of [result.decode, result.batch, result.prefill]) {
    expect(least).toBeGreaterThan(0);
    expect(median).toBeGreaterThanOrEqual(least);
    expect(median).toBeLessThanOrEqual(most);
  }
  const [round] = result.rounds;
  expect(round?.decodeShare).toBeGreaterThan(0);
});

test("a profile generates and encodes what it is asked for", async () => {
  using device = openDevice({ threads: 2 });
  using model = openModel(source, device);
  const fractions: number[] = [];
  const result = await profile(model, { generate: 40, encode: 30 }, (f) => fractions.push(f));
  expect(result).toMatchObject({ generated: 40, encoded: 30 });
  expect(Math.min(result.generateSeconds, result.encodeSeconds)).toBeGreaterThan(0);
  expect(fractions).toEqual([16 / 40, 32 / 40]);
});

import { type Device, DrawRows, ops } from "../../../kernels/index.ts";
import { attendOn, freshLayer, makeProblem, span } from "../../support/attention.ts";
import { normal, seeded } from "../../support/random.ts";
import type { Case } from "./case.ts";
import { Inputs } from "./inputs.ts";

function attends(
  dtype: "f32" | "u8",
  dim: number,
  lengths: number[],
  rows: ReturnType<typeof span>,
) {
  return (device: Device) => {
    const problem = makeProblem({ heads: 4, kvHeads: 2, dim }, lengths, rows);
    const { cache, y } = attendOn(device, problem, { blockSize: 16, dtype });
    return [cache.k, cache.v, y];
  };
}

export const inference: readonly Case[] = [
  {
    name: "rmsNorm",
    run: (device) => {
      const inputs = new Inputs(device);
      return [ops.rmsNorm(inputs.f32([3, 700]), inputs.bf16([700]), 1e-6)];
    },
  },
  {
    name: "attention, decode",
    run: attends("f32", 64, [700, 90], [...span(0, 699, 1), ...span(1, 89, 1)]),
  },
  { name: "attention, prefill", run: attends("f32", 64, [150], span(0, 50, 100)) },
  { name: "attention, wide heads", run: attends("f32", 160, [2100], span(0, 2099, 1)) },
  {
    name: "attention, prefill of two",
    run: attends("f32", 64, [60, 60], [...span(0, 40, 20), ...span(1, 40, 20)]),
  },
  { name: "attention of codes, decode", run: attends("u8", 128, [300], span(0, 299, 1)) },
  { name: "attention of codes, prefill", run: attends("u8", 128, [90], span(0, 10, 80)) },
  ...(["f32", "u8"] as const).map((dtype) => ({
    name: `ropeStoreCache of ${dtype}`,
    run: (device: Device) => {
      const inputs = new Inputs(device);
      const [qkv, table] = [inputs.f32([3, 5 * 40]), inputs.f32([3, 40])];
      const rows = {
        positions: inputs.i32([3], 8),
        rowSequence: device.from("i32", Int32Array.of(0, 1, 2)),
        blockTable: device.from("i32", Int32Array.of(0, 1, 2), [3, 1]),
      };
      const cache = freshLayer(device, dtype, [3, 2, 8, 40]);
      ops.ropeStoreCache(qkv, table, rows, cache);
      return [qkv, cache.k, cache.v, ...(cache.grids ? [cache.grids.k, cache.grids.v] : [])];
    },
  })),
  {
    name: "softmax",
    run: (device) => {
      const inputs = new Inputs(device);
      const logs = ops.logSoftmax(inputs.f32([3, 3000]));
      const others = ops.logSoftmax(inputs.f32([3, 3000]));
      return [logs, ops.klDivergence(logs, others), ops.argmax(logs, 2900)];
    },
  },
  {
    name: "sample",
    run: (device) => {
      // A third of the ids is about as likely as one another, if it were not for half of those having been seen: whatever goes
      // missing moves what is drawn.
      const random = seeded(2);
      const logits = normal(5 * 3000, random).map((x, i) => (i % 3 === 0 ? 40 + 0.1 * x : x));
      const ids = Int32Array.from({ length: 480 }, (_, i) => 6 * i);
      const seen = { ids, times: ids.map((id) => 1 + (id % 4)) };
      const penalties = { presencePenalty: 100, frequencyPenalty: 1, repetitionPenalty: 1.3 };
      const rows = [
        { temperature: 0, topK: 0, topP: 1, minP: 0 },
        { temperature: 1, topK: 0, topP: 1, minP: 0 },
        { temperature: 1, topK: 300, topP: 0.9, minP: 0 },
        { temperature: 1, topK: 0, topP: 0.95, minP: 0 },
        { temperature: 3, topK: 0, topP: 0.99, minP: 0.2 },
      ].map((options) => ({ options: { ...penalties, ...options }, seen }));
      const written = new DrawRows(device, rows.length, ids.length * rows.length);
      const input = device.from("f32", logits, [rows.length, 3000]);
      return Array.from({ length: 4 }, () => {
        written.write(rows.map((row) => ({ ...row, uniform: random() })));
        return ops.sample(input, 2900, written);
      });
    },
  },
  {
    name: "casts and counts",
    run: (device) => {
      const inputs = new Inputs(device);
      const counts = device.zeros("i32", [2]);
      const half = ops.cast(inputs.f32([40, 333], 60000), "f16", counts);
      return [half, counts, ops.countNonFinite(half)];
    },
  },
  {
    name: "quantizeCache",
    run: (device) => {
      const x = new Inputs(device).f32([5, 256]);
      const token = ops.quantizeCache(x, { heads: 2 });
      const call = ops.quantizeCache(x, { heads: 2, form: "call" });
      return [token.codes, token.scale, call.codes, call.scale, ops.dequantizeCache(token)];
    },
  },
  {
    name: "peaks",
    run: (device) => [ops.readAll(new Inputs(device).u8([100_000]), 3)],
  },
];

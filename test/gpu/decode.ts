// A model end to end: tokens per second by context, batch and cache, beside what the bandwidth allows, and the memory it took.
//
//   node build/ts/test/gpu/decode.js DIR NAME

import {
  DecodeWorkload,
  Machine,
  stepBytes,
  timeBatch,
  timePrefill,
  trafficOf,
} from "../../runtime/bench/index.ts";
import { type CacheDtype, openModel } from "../../runtime/index.ts";
import { openTried, recorder } from "./record.ts";

const [dir = "", name = ""] = process.argv.slice(2);
const record = recorder("decode", { continues: true });
const contexts = [128, 2048, 8192, 32_768];
const batches = [16, 64];
const batchContext = 1024;
const tokens = 256;
const rounds = 3;
/** Most keys and values that are tried, of the card's memory. */
const memoryShare = 0.6;

async function bandwidthOf(): Promise<number> {
  using device = openTried();
  using machine = new Machine(device, 2 ** 31);
  return (await machine.measure([])).bandwidth;
}

async function median(time: () => Promise<number>): Promise<number> {
  const seconds: number[] = [];
  for (let i = 0; i < rounds; i++) seconds.push(await time());
  return seconds.toSorted((a, b) => a - b)[rounds >> 1] ?? Number.NaN;
}

async function measure(kvCache: CacheDtype, bandwidth: number): Promise<void> {
  using device = openTried();
  using model = openModel(dir, device, { head: "int8", activations: "int8", kvCache });
  const traffic = trafficOf(model, "int8");
  const room = 140e9 * memoryShare;
  const started = performance.now();
  await timePrefill(model, 64);
  record({
    name,
    kvCache,
    what: "load and first token",
    seconds: (performance.now() - started) / 1000,
  });
  for (const context of contexts) {
    if (context * traffic.cacheBytesPerToken > room) continue;
    using decode = await DecodeWorkload.open(model, context, rounds * tokens + 2);
    const seconds = await median(() => decode.time(tokens));
    record({
      ...{ name, kvCache, what: "decode", batch: 1, context, "tokens/s": 1 / seconds },
      share: stepBytes(traffic, [context]) / seconds / bandwidth,
      "peak GB": device.memory().peak / 1e9,
    });
  }
  for (const rows of batches) {
    if (rows * batchContext * traffic.cacheBytesPerToken > room) continue;
    const batch = { rows, context: batchContext, steps: 32 };
    const seconds = await median(() => timeBatch(model, batch));
    const bytes = stepBytes(traffic, new Array<number>(rows).fill(batchContext));
    record({
      ...{ name, kvCache, what: "decode", batch: rows, context: batchContext },
      ...{ "tokens/s": rows / seconds, share: bytes / seconds / bandwidth },
    });
  }
  const seconds = await median(() => timePrefill(model, 2048));
  record({ name, kvCache, what: "prompt of 2048", "tokens/s": 2048 / seconds });
}

const bandwidth = await bandwidthOf();
record({ name, what: "read bandwidth", "GB/s": bandwidth / 1e9 });
for (const kvCache of ["bf16", "int8"] as const) await measure(kvCache, bandwidth);

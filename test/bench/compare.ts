// Ours and llama.cpp in one process, round by round, beside what the machine delivers in each.
//
//   node build/ts/test/bench/compare.js CHECKPOINT MODEL.gguf PEERS_DIR [--rounds N] [--head MODE]
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { cpuFeatures, openDevice } from "../../kernels/index.ts";
import { Machine } from "../../runtime/bench/index.ts";
import { stepBytes, trafficOf } from "../../runtime/bench/traffic.ts";
import { DecodeWorkload, timePrefill } from "../../runtime/bench/workload.ts";
import { type HeadMode, openModel } from "../../runtime/index.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    head: { type: "string", default: "int8" },
    context: { type: "string", default: "128" },
    tokens: { type: "string", default: "32" },
    prefill: { type: "string", default: "512" },
  },
});
const [checkpoint = "", gguf = "", peers = ""] = positionals;
const [rounds, context, tokens, prefill] = [
  values.rounds,
  values.context,
  values.tokens,
  values.prefill,
].map(Number) as [number, number, number, number];
const threads = 2;

/** What is used of node-llama-cpp, which is no dependency of the project. */
type LlamaSequence = {
  clearHistory(): Promise<void>;
  evaluateWithoutGeneratingNewTokens(ids: number[]): Promise<void>;
  evaluate(ids: number[], options: { temperature: number }): AsyncIterable<number>;
};
type Llama = {
  readonly systemInfo: string;
  loadModel(options: { modelPath: string }): Promise<{
    createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
  }>;
  dispose(): Promise<void>;
};

async function openLlama(): Promise<{ llama: Llama; sequence: LlamaSequence }> {
  const path = createRequire(`${peers}/package.json`).resolve("node-llama-cpp");
  const { getLlama } = (await import(pathToFileURL(path).href)) as {
    getLlama(options: object): Promise<Llama>;
  };
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads });
  console.log(`llama.cpp: ${llama.systemInfo}`);
  if (cpuFeatures().includes("avx512f") && !/AVX512 = 1/.test(llama.systemInfo)) {
    throw new Error(
      "llama.cpp's backend does not use AVX-512, which this machine has: no fair comparison",
    );
  }
  const model = await llama.loadModel({ modelPath: gguf });
  const size = Math.max(context + tokens, prefill) + 16;
  const opened = await model.createContext({ contextSize: size, batchSize: prefill, threads });
  return { llama, sequence: opened.getSequence() };
}

const ids = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => 1000 + ((i * 7919) % 2000));

async function llamaDecode(sequence: LlamaSequence): Promise<number> {
  await sequence.clearHistory();
  await sequence.evaluateWithoutGeneratingNewTokens(ids(context));
  let made = 0;
  let started = 0;
  for await (const _ of sequence.evaluate([42], { temperature: 0 })) {
    if (made === 0) started = performance.now();
    if (made++ === tokens) break;
  }
  return (tokens / (performance.now() - started)) * 1000;
}

async function llamaPrefill(sequence: LlamaSequence): Promise<number> {
  await sequence.clearHistory();
  const started = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(ids(prefill));
  return (prefill / (performance.now() - started)) * 1000;
}

type Row = Record<
  "bandwidth" | "decode" | "llamaDecode" | "prefill" | "llamaPrefill" | "share",
  number
>;

function median(rows: readonly Row[], value: (row: Row) => number): string {
  const sorted = rows.map(value).toSorted((a, b) => a - b);
  const [least = 0, most = 0] = [sorted[0], sorted.at(-1)];
  return `${(sorted[sorted.length >> 1] ?? 0).toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
}

const head = values.head as HeadMode;
using device = openDevice({ threads });
using model = openModel(checkpoint, device, { head });
const bytes = stepBytes(trafficOf(model, head), [context]);
using workload = await DecodeWorkload.open(model, context, (rounds + 1) * tokens + 4);
using machine = new Machine(device);
const { llama, sequence } = await openLlama();
const rows: Row[] = [];
let dropped = 0;
for (let round = 0; round <= rounds; round++) {
  const before = await machine.measure(["f32"]);
  const decode = 1 / (await workload.time(tokens));
  const theirs = await llamaDecode(sequence);
  const after = await machine.measure(["f32"]);
  const row = {
    bandwidth: Math.max(before.bandwidth, after.bandwidth),
    ...{ decode, llamaDecode: theirs },
    prefill: prefill / (await timePrefill(model, prefill)),
    llamaPrefill: await llamaPrefill(sequence),
    share: (decode * bytes) / Math.max(before.bandwidth, after.bandwidth),
  };
  // The first warms both up. In a round in which somebody beats the limit, the limit was measured wrongly.
  if (round === 0) continue;
  const isSteady = Math.abs(after.bandwidth / before.bandwidth - 1) < 0.1;
  if (isSteady && row.share < 1) rows.push(row);
  else dropped += 1;
}
console.log(
  `${checkpoint} (${head} head, ${(bytes / 1e6).toFixed(0)} MB per token) against ${gguf}`,
);
console.log(
  `rounds counted: ${rows.length}, dropped as unsteady: ${dropped}; medians (least to most)`,
);
console.log(`bandwidth GB/s    ${median(rows, (r) => r.bandwidth / 1e9)}`);
console.log(
  `decode tokens/s   ours ${median(rows, (r) => r.decode)}, theirs ${median(rows, (r) => r.llamaDecode)}`,
);
console.log(`  ratio           ${median(rows, (r) => r.decode / r.llamaDecode)}`);
console.log(`  of the limit    ${median(rows, (r) => r.share)}`);
console.log(
  `prompt tokens/s   ours ${median(rows, (r) => r.prefill)}, theirs ${median(rows, (r) => r.llamaPrefill)}`,
);
console.log(`  ratio           ${median(rows, (r) => r.prefill / r.llamaPrefill)}`);
console.log(
  JSON.stringify({
    checkpoint,
    gguf,
    head,
    bytes,
    context,
    tokens,
    prefill,
    threads,
    dropped,
    rows,
  }),
);
await llama.dispose();

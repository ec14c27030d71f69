// Ours and llama.cpp taking turns, round by round, beside what the machine delivers in each.
//
//   node build/ts/test/bench/compare.js CHECKPOINT MODEL.gguf LLAMA_SPEED BACKENDS_DIR [--rounds N] [--head MODE]
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
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
const [checkpoint = "", gguf = "", program = "", backends = ""] = positionals;
const [rounds, context, tokens, prefill] = [
  values.rounds,
  values.context,
  values.tokens,
  values.prefill,
].map(Number) as [number, number, number, number];
const threads = 2;

/** peers/llama_speed.c: llama.cpp without a loop in JavaScript around it, whose turns would count as its own. */
class Llama implements Disposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #ended: Promise<undefined>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
    this.#ended = once(child, "exit").then(() => undefined);
  }

  static async open(contextSize: number): Promise<Llama> {
    const args = [gguf, backends, `${threads}`, `${contextSize}`];
    const llama = new Llama(spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] }));
    const info = await llama.#line();
    console.log(`llama.cpp: ${info}`);
    if (cpuFeatures().includes("avx512f") && !/AVX512 = 1/.test(info)) {
      throw new Error(
        "llama.cpp's backend does not use AVX-512, which this machine has: no fair comparison",
      );
    }
    return llama;
  }

  /** Tokens per second. */
  async run(command: string): Promise<number> {
    this.#child.stdin.write(`${command}\n`);
    return 1 / Number(await this.#line());
  }

  async #line(): Promise<string> {
    const [line] = (await Promise.race([once(this.#lines, "line"), this.#ended])) ?? [];
    if (line === undefined) throw new Error("llama_speed ended");
    return line as string;
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
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
using model = openModel(checkpoint, device, { head, kvCache: "f16" });
const bytes = stepBytes(trafficOf(model, head), [context]);
using workload = await DecodeWorkload.open(model, context, (rounds + 1) * tokens + 4);
using machine = new Machine(device);
using llama = await Llama.open(Math.max(context + tokens, prefill) + 16);
const rows: Row[] = [];
let dropped = 0;
for (let round = 0; round <= rounds; round++) {
  const before = await machine.measure(["f32"]);
  const decode = 1 / (await workload.time(tokens));
  const theirs = await llama.run(`decode ${context} ${tokens}`);
  const after = await machine.measure(["f32"]);
  const row = {
    bandwidth: Math.max(before.bandwidth, after.bandwidth),
    ...{ decode, llamaDecode: theirs },
    prefill: prefill / (await timePrefill(model, prefill)),
    llamaPrefill: await llama.run(`prefill ${prefill}`),
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

// llama.cpp's quantizations of the same weights, scored by the same protocol: its logits, our arithmetic on them.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { ops } from "../../../kernels/index.ts";
import type { Model } from "../../../runtime/index.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { repositoryPath } from "../../support/shared.ts";

/** Where `test/bench/run` puts the tools, and llama.cpp's libraries. */
export type LlamaTools = { readonly directory: string; readonly backends: string };

/** In the numbering of llama_ftype. */
export const llamaTypes: Readonly<Record<string, number>> = { Q4_0: 2, Q4_K_M: 15, Q8_0: 7 };

export type PeerScore = {
  readonly perplexity: number;
  readonly kl: number;
  readonly top1: number;
  /** Of the blocks' matrices */
  readonly bitsPerWeight: number;
  readonly bytes: number;
};

/** The model as GGUF in f16, quantized by llama.cpp: a path for each type. */
export function llamaFiles(model: string, tools: LlamaTools): ReadonlyMap<string, string> {
  const f16 = join(tools.directory, "f16.gguf");
  run(process.execPath, [repositoryPath("test/bench/gguf.js"), model, f16]);
  return new Map(
    Object.entries(llamaTypes).map(([type, number]) => {
      const path = join(tools.directory, `${type}.gguf`);
      run(join(tools.directory, "quantize"), [f16, path, `${number}`, "2"]);
      return [type, path] as const;
    }),
  );
}

function run(command: string, args: readonly string[]): void {
  if (!existsSync(command)) throw new Error(`${command} is missing; run test/bench/run study`);
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} failed: ${stderr}`);
}

/** @param original  the float model @param windows  token ids, all of one length */
export async function llamaScore(
  original: Model,
  windows: readonly Int32Array[],
  path: string,
  tools: LlamaTools,
): Promise<PeerScore> {
  const [first] = windows;
  if (first === undefined) throw new RangeError("no window");
  const length = first.length;
  const args = [path, tools.backends, "2", `${length}`];
  const child = spawn(join(tools.directory, "llama_logits"), args);
  let notes = "";
  child.stderr.on("data", (text) => {
    notes += text;
  });
  child.stdin.end(Buffer.concat(windows.map((ids) => new Uint8Array(ids.slice().buffer))));
  const { vocabulary } = original.shape;
  const sums = { loss: 0, kl: 0, same: 0, count: 0 };
  const logits = chunksOf(child.stdout, length * vocabulary * 4);
  for (const ids of windows) {
    const { value } = await logits.next();
    if (value === undefined) throw new Error(`llama_logits ended early: ${notes}`);
    await addWindow(original, ids, value, sums);
  }
  const [, elements = 0, bytes = 0] = (/^tensors (\d+) (\d+)$/m.exec(notes) ?? []).map(Number);
  return {
    perplexity: Math.exp(sums.loss / sums.count),
    kl: sums.kl / sums.count,
    top1: sums.same / sums.count,
    bitsPerWeight: (8 * bytes) / elements,
    bytes: statSync(path).size,
  };
}

type Sums = { loss: number; kl: number; same: number; count: number };

async function addWindow(
  original: Model,
  ids: Int32Array,
  theirs: Float32Array<ArrayBuffer>,
  sums: Sums,
): Promise<void> {
  const { device, shape } = original;
  const scored = ids.length - 1;
  const values = await sequenceLogits(original, ids);
  using everything = device.from("f32", values, [ids.length, shape.vocabulary]);
  using own = everything.narrow(0, 0, scored);
  using ours = ops.copy(own);
  using all = device.from("f32", theirs, [ids.length, shape.vocabulary]);
  using given = all.narrow(0, 0, scored);
  using copied = ops.copy(given);
  using bestTheirs = ops.argmax(copied, shape.vocabulary);
  using bestOurs = ops.argmax(ours, shape.vocabulary);
  using logTheirs = ops.logSoftmax(copied);
  using logOurs = ops.logSoftmax(ours);
  using targets = device.from("i32", ids.slice(1));
  using picked = ops.pick(logTheirs, targets);
  using kl = ops.klDivergence(logOurs, logTheirs);
  const [logs, divergences] = [await picked.read(), await kl.read()];
  const [a, b] = [await bestTheirs.read(), await bestOurs.read()];
  for (let i = 0; i < scored; i++) {
    sums.loss -= logs[i] ?? Number.NaN;
    sums.kl += divergences[i] ?? Number.NaN;
    if (a[i] === b[i]) sums.same++;
  }
  sums.count += scored;
}

/** Floats of a stream, so many bytes at a time. */
async function* chunksOf(
  stream: Readable,
  bytes: number,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const data of stream) {
    let rest = data as Buffer;
    while (size + rest.length >= bytes) {
      const taken = bytes - size;
      const whole = Buffer.concat([...parts, rest.subarray(0, taken)]);
      yield new Float32Array(new Uint8Array(whole).buffer);
      rest = rest.subarray(taken);
      [parts, size] = [[], 0];
    }
    parts.push(rest);
    size += rest.length;
  }
}

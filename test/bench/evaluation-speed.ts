// What scoring costs beside the forward pass it needs: perplexity of a model against the same windows run through blocks and head.
//
//   node build/ts/test/bench/evaluation-speed.js MODEL TEXT [WINDOWS] [ROUNDS]
import { readFileSync } from "node:fs";
import { openTokenizer } from "../../cli/model-files.ts";
import { openDevice } from "../../kernels/index.ts";
import {
  cutWindows,
  forward,
  KvCache,
  openModel,
  Step,
  scoreModels,
  stepOptions,
  type Window,
} from "../../runtime/index.ts";

const [dir = "", text = "", count = "32", rounds = "9"] = process.argv.slice(2);
/** Windows of 512 tokens that a batch of scoring holds. */
const batch = 4;
using device = openDevice({ threads: 2 });
using model = openModel(dir, device);
using tokenizer = openTokenizer(model);
const ids = tokenizer.encode(readFileSync(text, "utf8"));
const windows = cutWindows(ids, { length: 512, stride: 512 }).slice(0, Number(count));
const tokens = windows.length * 512;

/** Blocks and head on every token, nothing done with the logits. */
async function plain(): Promise<void> {
  for (let first = 0; first < windows.length; first += batch) {
    await plainBatch(windows.slice(first, first + batch));
  }
}

async function plainBatch(part: readonly Window[]): Promise<void> {
  using cache = new KvCache(device, {
    ...{ ...model.shape, dtype: model.kvCache },
    tokens: part.length * 512,
  });
  const parts = part.map((window) => {
    const sequence = cache.open();
    cache.extend(sequence, window.tokens.length);
    const ropeBase = model.ropeBase(window.tokens.length);
    return { tokens: window.tokens, start: 0, blocks: [...sequence.blocks], ropeBase };
  });
  using step = new Step(device, parts, stepOptions(model));
  using hidden = forward(model, step, cache);
  for (let row = 0; row < hidden.size(0); row += 128) {
    using rows = hidden.narrow(0, row, Math.min(128, hidden.size(0) - row));
    using _logits = model.logits(rows);
  }
  await device.sync();
}

async function secondsOf(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await action();
  return (performance.now() - started) / 1000;
}

const score = () => scoreModels([model], windows);
await plain();
await score();
const ratios: number[] = [];
const speeds: number[] = [];
for (let round = 0; round < Number(rounds); round++) {
  const [a, b] = [await secondsOf(plain), await secondsOf(score)];
  ratios.push(a / b);
  speeds.push(tokens / b);
}
const median = (xs: number[]) => [...xs].sort((x, y) => x - y)[Math.floor(xs.length / 2)] ?? 0;
console.log(
  `scoring at ${median(ratios).toFixed(3)} of the forward pass's speed (${Math.min(...ratios).toFixed(3)} to ` +
    `${Math.max(...ratios).toFixed(3)}), ${median(speeds).toFixed(0)} tokens/s`,
);

// What is timed: prefill and decode of one sequence or several, with tokens that mean nothing.
import { type CacheSequence, KvCache } from "../cache/kv-cache.ts";
import { Decoder } from "../generation/decoder.ts";
import { Sequence } from "../generation/prefix-cache.ts";
import { forward, type Model, Step, type StepPart, stepOptions } from "../model/index.ts";

/** Any ids do; these are spread over the vocabulary. */
function tokensOf(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => (1000 + (i + seed) * 7919) % 100_000);
}

/** Seconds from ids to the first greedy choice. */
export async function timePrefill(model: Model, length: number): Promise<number> {
  using sequence = new Sequence(model, length, length);
  await model.device.sync();
  const started = performance.now();
  using choice = sequence.advanceGreedily(wrap(tokensOf(length, 0), model), model.shape.vocabulary);
  await choice.read();
  return (performance.now() - started) / 1000;
}

/** Decodes one sequence greedily; as in generation, a token is waited for before the next is asked. */
export class DecodeWorkload implements Disposable {
  readonly #model: Model;
  readonly #sequence: Sequence;
  #token = 0;
  /** Positions that the last row saw. */
  context: number;

  private constructor(model: Model, sequence: Sequence, context: number) {
    this.#model = model;
    this.#sequence = sequence;
    this.context = context;
  }

  static async open(model: Model, context: number, room: number): Promise<DecodeWorkload> {
    const sequence = new Sequence(model, context, context + room);
    const workload = new DecodeWorkload(model, sequence, context);
    using choice = sequence.advanceGreedily(
      wrap(tokensOf(context, 0), model),
      model.shape.vocabulary,
    );
    await choice.read();
    await workload.step(); // what is made once for many tokens is made now
    return workload;
  }

  async step(): Promise<void> {
    using choice = this.#sequence.advanceGreedily([this.#token], this.#model.shape.vocabulary);
    const [id = 0] = await choice.read();
    this.#token = Math.max(0, id);
    this.context += 1;
  }

  /** Seconds per token, over `tokens` of them. */
  async time(tokens: number): Promise<number> {
    const started = performance.now();
    for (let i = 0; i < tokens; i++) await this.step();
    return (performance.now() - started) / 1000 / tokens;
  }

  [Symbol.dispose](): void {
    this.#sequence[Symbol.dispose]();
  }
}

/** Seconds per step of several sequences that decode together, each `context` tokens long. */
export async function timeBatch(
  model: Model,
  batch: { readonly rows: number; readonly context: number; readonly steps: number },
): Promise<number> {
  const { rows, context, steps } = batch;
  const room = context + steps + 3;
  using cache = new KvCache(model.device, {
    ...model.shape,
    dtype: model.kvCache,
    tokens: rows * (room + 64),
  });
  const places = Array.from({ length: rows }, () => cache.open());
  const ropeBase = model.ropeBase(context);
  const part = (place: CacheSequence, tokens: readonly number[]): StepPart => {
    const start = place.length;
    cache.extend(place, tokens.length);
    return { tokens, start, blocks: place.blocks, ropeBase };
  };
  for (const [row, place] of places.entries()) {
    const tokens = wrap(tokensOf(context, row), model);
    using step = new Step(model.device, [part(place, tokens)], stepOptions(model));
    forward(model, step, cache)[Symbol.dispose]();
  }
  const next = (seed: number) => places.map((place, row) => part(place, [seed + row]));
  using decoder = new Decoder(model, cache, next(1), {
    maxBlocks: Math.ceil(room / cache.blockSize),
    finish: (hidden) => model.argmax(hidden, model.shape.vocabulary),
  });
  const run = async (parts: readonly StepPart[]): Promise<void> => {
    using choice = decoder.run(parts);
    await choice.read();
  };
  await run(next(2));
  const started = performance.now();
  for (let i = 0; i < steps; i++) await run(next(i));
  return (performance.now() - started) / 1000 / steps;
}

function wrap(tokens: readonly number[], model: Model): number[] {
  return tokens.map((token) => token % model.shape.vocabulary);
}

// Measurements in rounds, each beside what the machine delivers at that moment, so that only ratios of one moment count.
import type { Device } from "../../kernels/index.ts";
import type { HeadMode, Model } from "../model/index.ts";
import { Machine, type MachineRates } from "./machine.ts";
import { stepBytes, trafficOf } from "./traffic.ts";
import { DecodeWorkload, timeBatch, timePrefill } from "./workload.ts";

export type BenchOptions = {
  readonly rounds: number;
  /** Positions before the tokens that are decoded */
  readonly context: number;
  /** Tokens per round */
  readonly tokens: number;
  readonly batch: number;
  readonly prefill: number;
  readonly head: HeadMode;
  /** Bytes to read for the bandwidth */
  readonly bufferBytes: number;
  readonly signal?: AbortSignal | undefined;
  readonly onRound?: (round: number) => void;
};

export type Round = {
  readonly before: MachineRates;
  readonly after: MachineRates;
  /** Tokens per second: one sequence, the sum of a batch, a prompt */
  readonly decode: number;
  readonly batch: number;
  readonly prefill: number;
  /** Bytes read per second of decoding, by formula, over the bandwidth */
  readonly decodeShare: number;
  /** Tokens per second of the batch over what the bandwidth allows one sequence */
  readonly batchFactor: number;
  /** Operations of the prompt's linears per second over the peak of their arithmetic; undefined if that is unknown */
  readonly prefillShare: number | undefined;
  /** The machine changed by more than a tenth meanwhile: not counted */
  readonly isUnsteady: boolean;
};

export type Spread = { readonly median: number; readonly least: number; readonly most: number };

export type BenchResult = {
  readonly bytesPerToken: number;
  readonly batchBytes: number;
  readonly rounds: readonly Round[];
  readonly steadyRounds: number;
  readonly bandwidth: Spread;
  readonly decode: Spread;
  readonly batch: Spread;
  readonly prefill: Spread;
  readonly decodeShare: Spread;
  readonly batchFactor: Spread;
  readonly prefillShare: Spread | undefined;
};

const steady = 0.1;

/** @throws KernelError; the signal's reason when aborted */
export async function runRounds(
  model: Model,
  device: Device,
  options: BenchOptions,
): Promise<BenchResult> {
  const { context, tokens, rounds: count } = options;
  const traffic = trafficOf(model, options.head);
  const contexts = (rows: number) => new Array<number>(rows).fill(context);
  const bytesPerToken = stepBytes(traffic, contexts(1));
  const batchBytes = stepBytes(traffic, contexts(options.batch));
  using machine = new Machine(device, options.bufferBytes);
  using decode = await DecodeWorkload.open(model, context, count * tokens + 2);
  const rounds: Round[] = [];
  for (let i = 0; i < count; i++) {
    options.signal?.throwIfAborted();
    rounds.push(await runRound({ model, machine, decode, bytesPerToken }, options));
    options.onRound?.(i + 1);
  }
  const counted = rounds.filter(({ isUnsteady }) => !isUnsteady);
  const used = counted.length === 0 ? rounds : counted;
  const of = (value: (round: Round) => number | undefined) =>
    spreadOf(used.map(value).filter((each) => each !== undefined));
  return {
    ...{ bytesPerToken, batchBytes, rounds, steadyRounds: counted.length },
    bandwidth: of((round) => bestBandwidth(round)),
    ...{ decode: of((r) => r.decode), batch: of((r) => r.batch), prefill: of((r) => r.prefill) },
    ...{ decodeShare: of((r) => r.decodeShare), batchFactor: of((r) => r.batchFactor) },
    prefillShare: used.some((r) => r.prefillShare !== undefined)
      ? of((r) => r.prefillShare)
      : undefined,
  };
}

async function runRound(
  parts: {
    readonly model: Model;
    readonly machine: Machine;
    readonly decode: DecodeWorkload;
    readonly bytesPerToken: number;
  },
  options: BenchOptions,
): Promise<Round> {
  const { model, machine, bytesPerToken } = parts;
  const before = await machine.measure();
  const decode = 1 / (await parts.decode.time(options.tokens));
  const middle = await machine.measure();
  const steps = Math.max(2, Math.ceil(options.tokens / options.batch));
  const batchSeconds = await timeBatch(model, {
    rows: options.batch,
    context: options.context,
    steps,
  });
  const batch = options.batch / batchSeconds;
  const prefill = options.prefill / (await timePrefill(model, options.prefill));
  const after = await machine.measure();
  const bandwidth = Math.max(before.bandwidth, middle.bandwidth);
  const peak = model.quantization === undefined ? before.peaks.f32 : before.peaks.int16;
  return {
    ...{ before, after, decode, batch, prefill },
    decodeShare: (decode * bytesPerToken) / bandwidth,
    batchFactor: (batch * bytesPerToken) / bandwidth,
    prefillShare: peak === undefined ? undefined : (prefill * 2 * linearWeights(model)) / peak,
    isUnsteady: [middle, after].some(
      ({ bandwidth: later }) => Math.abs(later / before.bandwidth - 1) > steady,
    ),
  };
}

function bestBandwidth({ before, after }: Round): number {
  return Math.max(before.bandwidth, after.bandwidth);
}

function linearWeights(model: Model): number {
  const isLinear = /\.(c_attn|c_proj|w1|w2)\.weight$/;
  return [...model.tensorShapes()]
    .filter(([name]) => isLinear.test(name))
    .reduce((sum, [, shape]) => sum + shape.reduce((product, extent) => product * extent, 1), 0);
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const [least = Number.NaN, most = Number.NaN] = [sorted[0], sorted.at(-1)];
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  const median = sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
  return { median, least, most };
}

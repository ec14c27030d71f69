import { expect } from "vitest";
import { type Device, type DrawRow, DrawRows, type F32, ops } from "../../kernels/index.ts";
import {
  createSampler,
  parseSamplingOptions,
  type SamplingOptions,
} from "../../runtime/generation/sampler.ts";
import { type Implementation, withDevice } from "./kernels.ts";
import { seeded } from "./random.ts";

/** One row and how it is drawn from. */
export type Draw = {
  readonly logits: Float32Array<ArrayBuffer>;
  readonly options: SamplingOptions;
  readonly uniform: number;
  readonly limit: number;
  /** Of which the first `given` were not generated. */
  readonly history: readonly number[];
  readonly given: number;
};

function seenIn(history: readonly number[], given: number) {
  const times = new Map<number, number>();
  for (const [i, id] of history.entries())
    times.set(id, (times.get(id) ?? 0) + (i < given ? 0 : 1));
  return { ids: Int32Array.from(times.keys()), times: Int32Array.from(times.values()) };
}

export const rowOf = ({ options, uniform, history, given }: Draw): DrawRow => ({
  ...{ options, uniform },
  seen: history.length === 0 ? undefined : seenIn(history, given),
});

export function drawRows(device: Device, draws: readonly Draw[], capacity?: number): DrawRows {
  const needed = draws.reduce((sum, { history }) => sum + new Set(history).size, 0);
  const rows = new DrawRows(device, draws.length, capacity ?? needed);
  rows.write(draws.map(rowOf));
  return rows;
}

/** The rows of draws of one width and limit, one under another. */
export function stacked(draws: readonly Draw[], width: number): Float32Array<ArrayBuffer> {
  const all = new Float32Array(draws.length * width);
  for (const [row, { logits }] of draws.entries()) all.set(logits, row * width);
  return all;
}

export function logitsOf(device: Device, draws: readonly Draw[], width: number): F32 {
  return device.from("f32", stacked(draws, width), [draws.length, width]);
}

export async function drawn(isa: Implementation, draws: readonly Draw[]): Promise<number[]> {
  const [width, limit] = [draws[0]?.logits.length ?? 1, draws[0]?.limit ?? 1];
  return withDevice({ isa }, async (device) => {
    using logits = logitsOf(device, draws, width);
    using rows = drawRows(device, draws);
    using ids = ops.sample(logits, limit, rows);
    return Array.from(await ids.read());
  });
}

function reference({ logits, options, uniform, limit, history, given }: Draw): number {
  return createSampler(options, given, () => uniform).sample(logits, history, limit);
}

/**
 * Weights differ in two units in the last place of an exponential, sums of n of them in n · 2⁻⁵³ of the sum; mass that was reached
 * is one such sum beside another. Whoever draws so near a border may draw what is beyond it.
 */
function expectDrawn(id: number | undefined, draw: Draw, label: string): void {
  const { options, uniform, limit } = draw;
  const want = reference(draw);
  if (id === want) return;
  const tolerance = 4 * (limit + 4) * 2 ** -53;
  const near = [-tolerance, 0, tolerance].flatMap((byMass) =>
    [-tolerance, 0, tolerance].map((byCut) =>
      reference({
        ...draw,
        uniform: Math.min(Math.max(uniform + byMass, 0), 1 - 2 ** -53),
        options: { ...options, topP: options.topP === 1 ? 1 : options.topP * (1 + byCut) },
      }),
    ),
  );
  expect(near, `${label}: ${JSON.stringify({ ...options, uniform })}`).toContain(id);
}

export const variants: readonly Partial<SamplingOptions>[] = [
  {},
  { temperature: 0 },
  { temperature: 0.01 },
  { temperature: 1e-300 },
  { temperature: 50 },
  { topK: 1 },
  { topK: 2 },
  { topK: 20 },
  { topK: 16, temperature: 3 },
  { topK: 100_000, topP: 0.9 },
  { topK: 100_000 },
  { topK: 40, topP: 0.5, temperature: 0.7 },
  { topK: 7, topP: 0 },
  { topP: 0 },
  { topP: 1e-12 },
  { topP: 0.3 },
  { topP: 0.8 },
  { topP: 0.999, temperature: 3 },
  { topP: 1 - 2 ** -53 },
  { minP: 0.1 },
  { minP: 1 },
  { minP: 0.05, topK: 20, topP: 0.95 },
  { minP: 0.3, topP: 0.9, temperature: 2 },
  { minP: 1, topP: 0.9 },
];

export function everyVariant(
  logits: (random: () => number) => Float32Array<ArrayBuffer>,
  options: Partial<Draw> & { readonly seed: number },
): Draw[] {
  const { seed, ...rest } = options;
  const random = seeded(seed);
  return variants.map((variant) => {
    const values = logits(random);
    return {
      ...{ logits: values, limit: values.length, history: [], given: 0, uniform: random() },
      ...rest,
      options: parseSamplingOptions({ ...variant, ...rest.options }),
    };
  });
}

export async function expectAllDrawn(
  isa: Implementation,
  draws: readonly Draw[],
  label: string,
): Promise<void> {
  const ids = await drawn(isa, draws);
  for (const [row, draw] of draws.entries()) expectDrawn(ids[row], draw, `${label}, row ${row}`);
}

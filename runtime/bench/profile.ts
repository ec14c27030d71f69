// The model cards' own table: seconds, speed and memory of generating after one token, and of encoding.
import type { Model } from "../model/index.ts";
import { DecodeWorkload, timePrefill } from "./workload.ts";

export type Profile = {
  readonly generated: number;
  readonly generateSeconds: number;
  readonly encoded: number;
  readonly encodeSeconds: number;
};

/** Generates `generate` tokens after a context of one, then encodes `encode` tokens. */
export async function profile(
  model: Model,
  lengths: { readonly generate: number; readonly encode: number },
  onProgress?: (fraction: number) => void,
): Promise<Profile> {
  const { generate, encode } = lengths;
  const started = performance.now();
  // The first two come with opening it.
  using workload = await DecodeWorkload.open(model, 1, generate);
  for (let made = 2; made < generate; made++) {
    await workload.step();
    if (made % 16 === 0) onProgress?.(made / generate);
  }
  const generateSeconds = (performance.now() - started) / 1000;
  const encodeSeconds = await timePrefill(model, encode);
  return { generated: generate, generateSeconds, encoded: encode, encodeSeconds };
}

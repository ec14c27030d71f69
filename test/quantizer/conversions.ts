// What tests of nibble convert do: convert into a fresh directory, and look at what came out.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { type ConversionTarget, type ConvertReport, convertModel } from "../../quantizer/index.ts";
import { openCheckpoint, openModel, readTensorBytes } from "../../runtime/index.ts";
import { sequenceLogits } from "../support/logits.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
afterAll(temporary.remove);
let directories = 0;
export const fresh = (): string => join(temporary.path, `${directories++}`);

const ids = Int32Array.from({ length: 20 }, (_, i) => (i * 37) % 128);

export async function convert(
  source: string,
  target: ConversionTarget,
  maxShardBytes = 1e9,
): Promise<{ readonly output: string; readonly report: ConvertReport }> {
  using device = openDevice({ threads: 1 });
  const output = fresh();
  return { output, report: await convertModel({ source, output, target, maxShardBytes, device }) };
}

export async function logitsOf(dir: string): Promise<Float32Array<ArrayBuffer>> {
  using device = openDevice({ threads: 1 });
  using model = openModel(dir, device);
  return await sequenceLogits(model, ids);
}

/** Dtype, shape and bytes of every tensor. */
export function tensorsOf(dir: string): object {
  const entries = [...openCheckpoint(dir).tensors.values()];
  const facts = entries.map((entry) => {
    const bytes = Buffer.from(readTensorBytes(entry)).toString("base64");
    return [entry.name, { dtype: entry.dtype, shape: entry.shape, bytes }] as const;
  });
  return Object.fromEntries(facts);
}

export function json(dir: string, name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(dir, name), "utf8"));
}

export async function expectRefusal(
  source: string,
  target: ConversionTarget,
  expected: { name: string; code: string; message?: unknown },
): Promise<void> {
  using device = openDevice({ threads: 1 });
  const output = fresh();
  const refused = convertModel({ source, output, target, maxShardBytes: 1e9, device });
  await expect(refused).rejects.toMatchObject(expected);
  expect(existsSync(output)).toBe(false);
}

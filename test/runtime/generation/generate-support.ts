import type { Device } from "../../../kernels/index.ts";
import type { Model, SamplingOptions } from "../../../runtime/index.ts";
import { defaultSampling, type GenerateRequest, openModel } from "../../../runtime/index.ts";
import { repositoryPath } from "../../support/shared.ts";

export const miniPath: string = repositoryPath("examples/qwen-mini");

export const greedy: SamplingOptions = { ...defaultSampling, temperature: 0 };

export function openMini(device: Device): Model {
  return openModel(miniPath, device);
}

/** All values of an async iterable (Array.fromAsync of later Node releases). */
export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** A request that is right in every respect. */
export function request(model: Model, changes: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    prompt: Int32Array.from({ length: 100 }, (_, i) => (i * 37) % 3000),
    maxNewTokens: 12,
    sampling: greedy,
    allowed: model.shape.vocabulary,
    ...changes,
  };
}

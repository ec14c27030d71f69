// How a request's fields are used, and what stands in for those that it leaves out.
import { randomInt } from "node:crypto";
import { parseSamplingOptions, type SamplingOptions } from "../generation/index.ts";
import type { SamplingBody } from "./schemas.ts";
import type { Service } from "./service.ts";

/** As in Qwen's own server: below it, the most likely token is taken. */
const greedyTemperature = 0.01;

const maxSeed = 2 ** 47;

/** @param index  of several answers to one request: each is drawn by a seed of its own */
export function samplingOf(body: SamplingBody, service: Service, index: number): SamplingOptions {
  const { sampling } = service.config;
  const temperature = body.temperature ?? sampling.temperature;
  return parseSamplingOptions({
    temperature: temperature < greedyTemperature ? 0 : temperature,
    topP: body.top_p ?? sampling.topP,
    topK: Math.max(0, body.top_k ?? sampling.topK),
    minP: body.min_p ?? sampling.minP,
    repetitionPenalty: body.repetition_penalty ?? sampling.repetitionPenalty,
    presencePenalty: body.presence_penalty ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    // Without a seed, the same question may have another answer.
    seed: (Math.abs(body.seed ?? randomInt(maxSeed)) + index) % Number.MAX_SAFE_INTEGER,
  });
}

export function stopStringsOf({ stop }: SamplingBody): readonly string[] {
  if (stop === undefined || stop === null) return [];
  return typeof stop === "string" ? [stop] : stop;
}

/** What is asked for, or else the model's own limit as far as there is room. */
export function maxNewTokensOf(
  asked: number | null | undefined,
  promptLength: number,
  service: Service,
): number {
  const room = service.engine.maxLength - promptLength;
  return asked ?? Math.max(1, Math.min(service.config.maxNewTokens, room));
}

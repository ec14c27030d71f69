import type { DrawOptions } from "../../kernels/index.ts";
import { GenerationError } from "./errors.ts";

/** How a token is drawn, and what the random numbers begin with. */
export type SamplingOptions = DrawOptions & { readonly seed: number };

export const defaultSampling: SamplingOptions = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 1234,
};

type Rule = { readonly expected: string; readonly accepts: (value: number) => boolean };

const rules: { readonly [K in keyof SamplingOptions]: Rule } = {
  temperature: { expected: "a finite number from 0", accepts: (v) => Number.isFinite(v) && v >= 0 },
  topP: { expected: "a number from 0 to 1", accepts: (v) => v >= 0 && v <= 1 },
  topK: { expected: "an integer from 0", accepts: (v) => Number.isSafeInteger(v) && v >= 0 },
  minP: { expected: "a number from 0 to 1", accepts: (v) => v >= 0 && v <= 1 },
  repetitionPenalty: {
    expected: "a finite number above 0",
    accepts: (v) => Number.isFinite(v) && v > 0,
  },
  presencePenalty: { expected: "a finite number", accepts: Number.isFinite },
  frequencyPenalty: { expected: "a finite number", accepts: Number.isFinite },
  seed: { expected: "an integer from 0", accepts: (v) => Number.isSafeInteger(v) && v >= 0 },
};

/** Whether the most likely token, as the logits have it, is what is chosen each time. */
export function isPlainGreedy(options: SamplingOptions): boolean {
  const { temperature, topK, repetitionPenalty, presencePenalty, frequencyPenalty } = options;
  const isGreedy = temperature === 0 || topK === 1;
  return isGreedy && repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0;
}

/**
 * Fills in the defaults (`defaultSampling`) and checks every option.
 *
 * @throws GenerationError GENERATION_OPTION naming an option that is unknown or out of range
 */
export function parseSamplingOptions(
  partial: { readonly [K in keyof SamplingOptions]?: SamplingOptions[K] | undefined },
): SamplingOptions {
  const options = { ...defaultSampling };
  for (const [name, value] of Object.entries(partial) as [string, unknown][]) {
    if (!isOptionName(name)) {
      const known = Object.keys(rules).join(", ");
      throw optionError(`unknown sampling option ${JSON.stringify(name)}; expected ${known}`);
    }
    if (value === undefined) {
      continue;
    }
    if (typeof value !== "number" || !rules[name].accepts(value)) {
      throw optionError(`${name} must be ${rules[name].expected}, got ${JSON.stringify(value)}`);
    }
    options[name] = value;
  }
  return options;
}

function isOptionName(name: string): name is keyof SamplingOptions {
  return Object.hasOwn(rules, name);
}

function optionError(message: string): GenerationError {
  return new GenerationError("GENERATION_OPTION", message);
}

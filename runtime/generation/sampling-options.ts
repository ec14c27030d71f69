import { GenerationError } from "./errors.ts";

export type SamplingOptions = {
  /** 0 chooses the most likely token. */
  readonly temperature: number;
  /** Probability mass to draw from, 0 … 1; 1 is off. */
  readonly topP: number;
  /** Number of most likely tokens to draw from; 0 is off, 1 is greedy. */
  readonly topK: number;
  /** Least probability to draw from, as a share of the most likely token's, 0 … 1; 0 is off. */
  readonly minP: number;
  /** Divides (or multiplies, below 0) the logits of tokens already seen; 1 is off. */
  readonly repetitionPenalty: number;
  /** Is taken from the logits of tokens already generated; 0 is off. */
  readonly presencePenalty: number;
  /** Is taken from the logits of tokens already generated, once for each time; 0 is off. */
  readonly frequencyPenalty: number;
  readonly seed: number;
};

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

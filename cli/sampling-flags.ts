// How tokens are drawn, for every command that generates.
import { type Command, Option } from "commander";
import {
  defaultLookupLength,
  type GenerationConfig,
  PromptLookup,
  parseSamplingOptions,
  type SamplingOptions,
} from "../runtime/index.ts";
import { decimal, integer, ranges } from "./arguments.ts";
import { type ArithmeticFlags, addArithmeticFlags } from "./arithmetic-flags.ts";

export type SamplingFlags = ArithmeticFlags & {
  readonly maxNewTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly seed?: number;
  readonly greedy?: boolean;
  readonly lookup?: number;
  readonly cache: boolean;
};

export function addSamplingFlags(command: Command): void {
  command
    .option("--max-new-tokens <n>", "tokens to generate at most", integer(1))
    .option("--temperature <x>", "0 takes the most likely token", decimal(ranges.fromZero))
    .option("--top-p <x>", "probability mass to draw from", decimal(ranges.share))
    .option("--top-k <n>", "number of tokens to draw from, 0 for all", integer(0))
    .option(
      "--min-p <x>",
      "least probability to draw from, as a share of the most likely token's",
      decimal(ranges.share),
    )
    .option(
      "--repetition-penalty <x>",
      "above 1 discourages tokens already seen",
      decimal(ranges.aboveZero),
    )
    .option(
      "--presence-penalty <x>",
      "taken from the logits of generated tokens",
      decimal(ranges.any),
    )
    .option(
      "--frequency-penalty <x>",
      "taken from the logits of generated tokens, once for each time",
      decimal(ranges.any),
    )
    .option("--seed <n>", "seed of the draws", integer(0))
    .addOption(
      new Option(
        "--greedy",
        "the most likely token every time, without repetition penalty unless given",
      ).conflicts(["temperature", "topP", "topK", "seed"]),
    );
  addArithmeticFlags(command);
  command
    .addOption(
      new Option(
        "--lookup [tokens]",
        "guess up to so many tokens from the text so far and compute them together: the same text, faster where it repeats itself",
      )
        .argParser(integer(1, 31))
        .preset(`${defaultLookupLength}`),
    )
    .option("--no-cache", "neither use nor keep repacked weights in ~/.cache/nibble");
}

/** What the flags leave open is as the model's generation_config.json has it. */
export function samplingOf(flags: SamplingFlags, config: GenerationConfig): SamplingOptions {
  const isGreedy = flags.greedy ?? false;
  return parseSamplingOptions({
    temperature: isGreedy ? 0 : (flags.temperature ?? config.sampling.temperature),
    topP: flags.topP ?? config.sampling.topP,
    topK: flags.topK ?? config.sampling.topK,
    minP: flags.minP,
    presencePenalty: flags.presencePenalty,
    frequencyPenalty: flags.frequencyPenalty,
    repetitionPenalty:
      flags.repetitionPenalty ?? (isGreedy ? 1 : config.sampling.repetitionPenalty),
    seed: flags.seed ?? config.sampling.seed,
  });
}

export function lookupOf(flags: SamplingFlags): PromptLookup | undefined {
  return flags.lookup === undefined ? undefined : new PromptLookup(flags.lookup);
}

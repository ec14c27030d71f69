import type { Command } from "commander";
import {
  chatPrompt,
  defaultSystem,
  type GenerationConfig,
  GenerationError,
  generateText,
  type Model,
  openModel,
  type PromptLookup,
  readGenerationConfig,
  type SamplingOptions,
  type TextDelta,
  type Tokenizer,
} from "../runtime/index.ts";
import {
  type AllowedSpecial,
  allowedSpecial,
  type CommonFlags,
  path,
  repeated,
} from "./arguments.ts";
import { arithmeticOf } from "./arithmetic-flags.ts";
import { answerBatch, type BatchSummary } from "./batch/batch.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { UsageError } from "./errors.ts";
import { peakMemoryBytes } from "./memory.ts";
import { modelDirectory } from "./model-directory.ts";
import { describeUnused, openTokenizer, requireChatModel } from "./model-files.ts";
import { addSamplingFlags, lookupOf, type SamplingFlags, samplingOf } from "./sampling-flags.ts";
import { formatBytes, formatCount, plural } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { keepPackedWeights, weightCacheOf } from "./weight-cache.ts";

type GenerateFlags = CommonFlags &
  SamplingFlags & {
    readonly prompt?: string;
    readonly input?: string;
    readonly output?: string;
    readonly overwrite?: boolean;
    readonly chat?: boolean;
    readonly system?: string;
    readonly allowedSpecial?: AllowedSpecial;
    readonly stop?: readonly string[];
  };

/** Of --lookup: steps with guesses, guesses in all, and those that were right. */
type LookupCounts = Pick<PromptLookup, "steps" | "proposed" | "accepted">;

/** What `nibble generate --json` prints. */
export type GenerationResult = {
  readonly model: string;
  readonly text: string;
  readonly finish: "stop" | "length";
  readonly promptTokens: number;
  readonly tokens: number;
  readonly sampling: SamplingOptions;
  /** Until the first token, loading of weights included. */
  readonly promptSeconds: number;
  /** From the first token to the last. */
  readonly decodeSeconds: number;
  /** Of tokens after the first; undefined for a single token. */
  readonly tokensPerSecond: number | undefined;
  readonly lookup?: LookupCounts;
  /** Largest resident memory of this process. */
  readonly peakMemoryBytes: number;
};

export const generate: CommandSpec = {
  name: "generate",
  define: defineGenerate,
  run: runGenerate,
};

const examples = `
Sampling and length default to the model's generation_config.json. Without
--chat the prompt is continued as it stands, control tokens such as <|im_start|>
included; with --chat they are plain text.

--input has a JSON object per line, {"prompt": TEXT} or {"messages": [...]},
with an "id" if wanted; --output gets an object per line in the same order. The
same command goes on with a run that was interrupted.

Examples:
  nibble generate qwen-mini --prompt "It was a dark night, and" --greedy
  nibble generate Qwen-1_8B-Chat-Int4 --chat --prompt "What is 12 * 9?"
  nibble generate qwen-mini --prompt "Once" --stop "." --json
  nibble generate qwen-mini --input prompts.jsonl --output answers.jsonl
`;

function defineGenerate(command: Command): void {
  command
    .description("Continue a prompt, or answer it as a chat model; or many prompts of a file.")
    .argument("<model>", "model directory or model id, float or quantized", modelDirectory)
    .option("-p, --prompt <text>", "what to continue or to answer")
    .option("--input <file>", "prompts to answer together: .jsonl, see below", path)
    .option("--output <file>", "where their answers go", path)
    .option("--overwrite", "replace answers that are there")
    .option("--chat", "ask the prompt as a user would")
    .option("--system <text>", `system text of a chat (default: "${defaultSystem}")`);
  addSamplingFlags(command);
  command
    .option(
      "--allowed-special <forms>",
      "control tokens to read as such in the prompt: all, none, or a list (default: all; with --chat none)",
      allowedSpecial,
    )
    .option("--stop <text>", "end before this text; may be repeated", repeated)
    .addHelpText("after", examples);
}

async function runGenerate(command: Command, { output, signal }: CommandContext): Promise<void> {
  const [dir = ""] = command.processedArgs as string[];
  const flags = command.opts<GenerateFlags>();
  if (flags.system !== undefined && flags.chat !== true) {
    throw new UsageError("--system has no effect without --chat");
  }
  requireOneSource(flags);
  using device = openComputeDevice(flags);
  const packedCache = weightCacheOf(flags);
  using model = openModel(dir, device, { ...arithmeticOf(flags), packedCache });
  const unused = describeUnused(model);
  if (unused !== undefined) output.note(unused);
  const config = readGenerationConfig(dir);
  using tokenizer = openTokenizer(model);
  const sampling = samplingOf(flags, config);
  if (flags.input !== undefined) {
    const { input, output: file = "", overwrite = false, maxNewTokens, stop = [] } = flags;
    const options = { input, output: file, overwrite, sampling, maxNewTokens, stop, signal };
    const summary = await answerBatch({ model, tokenizer, config }, options, output);
    output.result(summary, () => describeBatch(summary, file));
    await keepPackedWeights(model, output, signal);
    return;
  }
  const prompt = encodePrompt(flags, config, { dir, tokenizer });
  const { endOfText, imStart, imEnd } = tokenizer.specials;
  const lookup = lookupOf(flags);
  const deltas = generateText(model, tokenizer, {
    ...{ prompt, sampling, signal, lookup },
    maxNewTokens: flags.maxNewTokens ?? defaultLength(model, prompt.length, config),
    stop: { ids: [[endOfText], [imStart], [imEnd]], strings: flags.stop ?? [] },
  });
  const result: GenerationResult = {
    model: dir,
    ...(await consume(deltas, output)),
    promptTokens: prompt.length,
    ...(lookup === undefined ? {} : { lookup: countsOf(lookup) }),
    sampling,
    peakMemoryBytes: peakMemoryBytes(),
  };
  if (output.isJson) output.result(result, () => result.text);
  else output.note(describeResult(result));
  await keepPackedWeights(model, output, signal);
}

function requireOneSource({ prompt, input, output, chat, lookup }: GenerateFlags): void {
  if (prompt === "") throw new UsageError("--prompt is empty; give some text to go on from");
  if ((prompt === undefined) === (input === undefined)) {
    throw new UsageError("give either --prompt, or --input with --output");
  }
  if ((input === undefined) !== (output === undefined)) {
    throw new UsageError("--input and --output go together");
  }
  if (input !== undefined && (chat === true || lookup !== undefined)) {
    throw new UsageError(
      "--chat and --lookup have no effect with --input; its lines may hold messages",
    );
  }
}

function describeBatch({ answers, tokens, seconds }: BatchSummary, file: string): string {
  const speed = (tokens / Math.max(seconds, 1e-3)).toFixed(1);
  return `${plural(answers, "answer")} in ${file}: ${plural(tokens, "token")}, ${speed} tokens/s`;
}

function countsOf({ steps, proposed, accepted }: PromptLookup): LookupCounts {
  return { steps, proposed, accepted };
}

/** Streams the text, unless it is wanted as JSON, and takes the times. */
async function consume(
  deltas: AsyncIterable<TextDelta>,
  output: Output,
): Promise<
  Omit<GenerationResult, "model" | "promptTokens" | "sampling" | "lookup" | "peakMemoryBytes">
> {
  const started = performance.now();
  let first = started;
  let text = "";
  let last: TextDelta = { text: "", tokens: 0, finish: undefined };
  try {
    for await (const delta of deltas) {
      if (last.tokens === 0) first = performance.now();
      last = delta;
      text += delta.text;
      if (!output.isJson) output.stream(delta.text);
    }
  } finally {
    if (!output.isJson && text !== "" && !text.endsWith("\n")) output.stream("\n");
  }
  const decodeSeconds = (performance.now() - first) / 1000;
  return {
    text,
    finish: last.finish ?? "length",
    tokens: last.tokens,
    promptSeconds: (first - started) / 1000,
    decodeSeconds,
    tokensPerSecond: last.tokens > 1 ? (last.tokens - 1) / decodeSeconds : undefined,
  };
}

function encodePrompt(
  flags: GenerateFlags,
  config: GenerationConfig,
  { dir, tokenizer }: { readonly dir: string; readonly tokenizer: Tokenizer },
): Int32Array {
  const { allowedSpecial: allowed, prompt = "" } = flags;
  if (flags.chat !== true) {
    return tokenizer.encode(prompt, allowed === undefined ? {} : { allowedSpecial: allowed });
  }
  requireChatModel(dir, config, "leave --chat out");
  return chatPrompt(tokenizer, {
    system: flags.system ?? defaultSystem,
    history: [],
    query: prompt,
    maxWindow: config.maxWindow,
    allowedSpecial: allowed ?? "none",
  });
}

/** The model's own limit, as far as there is room. */
function defaultLength(model: Model, promptLength: number, config: GenerationConfig): number {
  const room = model.shape.maxLength - promptLength;
  if (room >= 1) return Math.min(config.maxNewTokens, room);
  throw new GenerationError(
    "GENERATION_LENGTH",
    `--prompt has ${promptLength} tokens; the model takes at most ${model.shape.maxLength}, new ones included`,
  );
}

function describeResult(result: GenerationResult): string {
  const { promptTokens, tokens, tokensPerSecond, finish, lookup } = result;
  const speed = tokensPerSecond === undefined ? [] : [`${tokensPerSecond.toFixed(1)} tokens/s`];
  const isRandom = result.sampling.temperature !== 0 && result.sampling.topK !== 1;
  return [
    `${plural(tokens, "token")}${finish === "length" ? " (limit)" : ""}`,
    ...speed,
    `prompt of ${formatCount(promptTokens)}`,
    `peak memory ${formatBytes(result.peakMemoryBytes)}`,
    ...(lookup === undefined ? [] : [`${lookup.accepted} of ${lookup.proposed} guesses right`]),
    ...(isRandom ? [`seed ${result.sampling.seed}`] : []),
  ].join(", ");
}

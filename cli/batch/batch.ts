// nibble generate --input: many prompts together.
import {
  Engine,
  type GenerationConfig,
  type Model,
  type SamplingOptions,
  type Tokenizer,
} from "../../runtime/index.ts";
import { InputError } from "../errors.ts";
import { plural } from "../terminal/format.ts";
import type { Output } from "../terminal/output.ts";
import { AnswersFile, type BatchAnswer } from "./answers-file.ts";
import { encodePrompt } from "./encode-prompt.ts";
import { type BatchPrompt, readPrompts } from "./prompts-file.ts";

export type BatchOptions = {
  readonly input: string;
  readonly output: string;
  readonly overwrite: boolean;
  /** Each prompt's seed is this one's and its number. */
  readonly sampling: SamplingOptions;
  readonly maxNewTokens: number | undefined;
  readonly stop: readonly string[];
  readonly signal: AbortSignal;
};

export type BatchSummary = {
  readonly answers: number;
  /** Of these, found in what an earlier run left. */
  readonly resumed: number;
  readonly tokens: number;
  readonly seconds: number;
};

/** Prompts in the engine at a time: enough to fill its steps. */
const together = 64;

/** Tokens of the cache, in sequences of full length. */
const cacheSequences = 8;

/**
 * Answers all prompts of a file. Each gets what it would get alone.
 *
 * @throws InputError for a prompt that cannot be answered; UsageError, see AnswersFile; the signal's reason
 */
export async function answerBatch(
  parts: {
    readonly model: Model;
    readonly tokenizer: Tokenizer;
    readonly config: GenerationConfig;
  },
  options: BatchOptions,
  output: Output,
): Promise<BatchSummary> {
  const { model, tokenizer, config } = parts;
  const { prompts, digest } = readPrompts(options.input);
  const encoded = prompts.map((prompt, i) => encode(prompt, i, parts));
  const { sampling, maxNewTokens, stop, signal } = options;
  const run = JSON.stringify({ digest, model: model.checkpoint.dir, sampling, maxNewTokens, stop });
  const file = new AnswersFile(options.output, run, options);
  const resumed = file.answers.size;
  if (resumed > 0) output.note(`going on after ${plural(resumed, "answer")} of ${prompts.length}`);
  const started = performance.now();
  const { maxLength } = model.shape;
  await using engine = new Engine(model, tokenizer, { cacheTokens: cacheSequences * maxLength });
  using progress = output.progress();
  const { endOfText, imStart, imEnd } = tokenizer.specials;
  const answer = async (index: number): Promise<void> => {
    const { ids, room } = encoded[index] as Encoded;
    const completion = engine.submit({
      ...{ prompt: ids, signal },
      maxNewTokens: maxNewTokens ?? Math.min(config.maxNewTokens, room),
      sampling: { ...sampling, seed: sampling.seed + index },
      stop: { ids: [[endOfText], [imStart], [imEnd]], strings: stop },
    });
    let text = "";
    let last: Pick<BatchAnswer, "finish" | "tokens"> = { finish: "length", tokens: 0 };
    for await (const delta of completion) {
      text += delta.text;
      last = { finish: delta.finish ?? "length", tokens: delta.tokens };
    }
    const id = prompts[index]?.id;
    const named = id === undefined ? {} : { id };
    file.add({ index, ...named, text, ...last, promptTokens: ids.length });
    progress.update(plural(file.answers.size, "answer"), file.answers.size / prompts.length);
  };
  const waiting = [...prompts.keys()].filter((index) => !file.answers.has(index)).values();
  const work = async () => {
    for (const index of waiting) await answer(index);
  };
  await Promise.all(Array.from({ length: together }, work));
  file.publish();
  const tokens = [...file.answers.values()].reduce((sum, { tokens: count }) => sum + count, 0);
  const seconds = (performance.now() - started) / 1000;
  return { answers: prompts.length, resumed, tokens, seconds };
}

type Encoded = { readonly ids: Int32Array; readonly room: number };

function encode(
  prompt: BatchPrompt,
  index: number,
  parts: Parameters<typeof answerBatch>[0],
): Encoded {
  const ids = encodePrompt(prompt, index, parts);
  const room = parts.model.shape.maxLength - ids.length;
  if (room >= 1) return { ids, room };
  throw new InputError(
    `prompt ${index + 1} has ${ids.length} tokens; the model takes at most ${parts.model.shape.maxLength}, new ones included`,
  );
}

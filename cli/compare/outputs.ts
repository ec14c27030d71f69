// Greedy outputs of two models, which take turns: one of them is in memory at a time.
import type { Device } from "../../kernels/index.ts";
import {
  chatPrompt,
  defaultSampling,
  defaultSystem,
  type GenerationConfig,
  generate,
  type Model,
  nextLogProbabilities,
  openModel,
  readGenerationConfig,
  type Tokenizer,
} from "../../runtime/index.ts";
import { encodePrompt } from "../batch/encode-prompt.ts";
import type { BatchPrompt } from "../batch/prompts-file.ts";
import { InputError } from "../errors.ts";
import { describeUnused, openTokenizer, requireChatModel } from "../model-files.ts";
import { plural } from "../terminal/format.ts";
import type { Output } from "../terminal/output.ts";
import { type ComparedPrompt, commonLength, describeParting } from "./comparison.ts";

export type CompareRequest = {
  readonly models: readonly [string, string];
  readonly prompts: readonly BatchPrompt[];
  /** Asks prompts as a user would. */
  readonly chat: boolean;
  /** As far as there is room, unless it was asked for. */
  readonly maxTokens: { readonly count: number; readonly isGiven: boolean };
};

type Context = {
  readonly device: Device;
  readonly output: Output;
  readonly signal: AbortSignal;
};

/** Tokens shown of each model where outputs part. */
const top = 5;

/** @throws what opening models and generating throw; InputError for a prompt that cannot be asked */
export async function compareOutputs(
  request: CompareRequest,
  context: Context,
): Promise<readonly ComparedPrompt[]> {
  const [a, b] = request.models;
  using tokenizer = sharedTokenizer(request.models, context);
  const { prompts, maxLength } = encodeAll(request, tokenizer, context);
  using progress = context.output.progress();
  const steps = { done: 0, all: 2 * prompts.length };
  const onDone = () => {
    steps.done += 1;
    progress.update(`${plural(steps.done, "output")} of ${steps.all}`, steps.done / steps.all);
  };
  const work = { ...context, tokenizer, prompts, maxLength, request, onDone };
  const first = await withModel(a, context, (model) => generateAll(model, work));
  const second = await withModel(b, context, async (model) => {
    const ids = await generateAll(model, work);
    return { ids, logs: await logsWhereParted(model, [first, ids], work) };
  });
  // Loaded again only if there is something to ask.
  const isParted = second.logs.some((logs) => logs !== undefined);
  const logs = isParted
    ? await withModel(a, context, (model) => logsWhereParted(model, [first, second.ids], work))
    : [];
  return request.prompts.map((prompt, i) =>
    describe(tokenizer, promptText(prompt), {
      outputs: [first[i] ?? [], second.ids[i] ?? []],
      logs: [logs[i], second.logs[i]],
    }),
  );
}

type Work = Context & {
  readonly tokenizer: Tokenizer;
  readonly prompts: readonly (readonly number[])[];
  readonly maxLength: number;
  readonly request: CompareRequest;
  onDone(): void;
};

async function withModel<Result>(
  dir: string,
  { device }: Context,
  body: (model: Model) => Promise<Result>,
): Promise<Result> {
  using model = openModel(dir, device);
  return await body(model);
}

/** Opening reads headers only: what is wrong with either model is found before one generates. */
function sharedTokenizer(
  [a, b]: readonly [string, string],
  { device, output }: Context,
): Tokenizer {
  for (const dir of new Set([a, b])) {
    using model = openModel(dir, device);
    const unused = describeUnused(model);
    if (unused !== undefined) output.note(unused);
    openTokenizer(model)[Symbol.dispose]();
  }
  using model = openModel(a, device);
  return openTokenizer(model);
}

function encodeAll(
  { models, prompts, chat, maxTokens }: CompareRequest,
  tokenizer: Tokenizer,
  { device }: Context,
): Pick<Work, "prompts" | "maxLength"> {
  const lengths = models.map((dir) => {
    using model = openModel(dir, device);
    return model.shape.maxLength;
  });
  const maxLength = Math.min(...lengths);
  const configs = models.map(readGenerationConfig);
  if (chat) {
    for (const [i, dir] of models.entries()) {
      const config = configs[i];
      if (config !== undefined) requireChatModel(dir, config, "leave --chat out");
    }
  }
  const [config] = configs;
  if (config === undefined) throw new RangeError("no model to ask");
  const needed = maxTokens.isGiven ? maxTokens.count : 1;
  const encoded = prompts.map((prompt, i) => {
    const ids = Array.from(encodeOne(prompt, i, { tokenizer, config, chat }));
    if (ids.length === 0) throw new InputError(`prompt ${i + 1} has no tokens; give some text`);
    if (ids.length + needed <= maxLength) return ids;
    throw new InputError(
      `prompt ${i + 1} has ${plural(ids.length, "token")}; with ${plural(needed, "new one")} that is more than the ` +
        `${maxLength} that the models take; shorten it${maxTokens.isGiven ? " or lower --max-tokens" : ""}`,
    );
  });
  return { prompts: encoded, maxLength };
}

function encodeOne(
  prompt: BatchPrompt,
  index: number,
  parts: {
    readonly tokenizer: Tokenizer;
    readonly config: GenerationConfig;
    readonly chat: boolean;
  },
): Int32Array {
  const { tokenizer, config, chat } = parts;
  if (!chat || !("prompt" in prompt)) return encodePrompt(prompt, index, parts);
  const { maxWindow } = config;
  return chatPrompt(tokenizer, {
    ...{ system: defaultSystem, history: [], query: prompt.prompt, maxWindow },
  });
}

async function generateAll(model: Model, work: Work): Promise<readonly (readonly number[])[]> {
  const { tokenizer, prompts, maxLength, request, signal } = work;
  const { endOfText, imStart, imEnd } = tokenizer.specials;
  const outputs: (readonly number[])[] = [];
  for (const prompt of prompts) {
    const ids: number[] = [];
    const tokens = generate(model, {
      ...{ prompt, signal, sampling: { ...defaultSampling, temperature: 0 } },
      maxNewTokens: Math.min(request.maxTokens.count, maxLength - prompt.length),
      allowed: Math.min(tokenizer.vocabularySize, model.shape.vocabulary),
      stopIds: [[endOfText], [imStart], [imEnd]],
    });
    for await (const id of tokens) ids.push(id);
    outputs.push(ids);
    work.onDone();
  }
  return outputs;
}

/** What a model thinks of the token where the outputs part; undefined where they do not. */
async function logsWhereParted(
  model: Model,
  [first, second]: readonly [Outputs, Outputs],
  { prompts, signal }: Work,
): Promise<readonly (Float32Array | undefined)[]> {
  const all: (Float32Array | undefined)[] = [];
  for (const [i, prompt] of prompts.entries()) {
    const [a = [], b = []] = [first[i], second[i]];
    const common = commonLength(a, b);
    const isSame = common === a.length && common === b.length;
    const generated = a.slice(0, common);
    all.push(isSame ? undefined : await nextLogProbabilities(model, { prompt, generated, signal }));
  }
  return all;
}

type Outputs = readonly (readonly number[])[];

function describe(
  tokenizer: Tokenizer,
  prompt: string,
  {
    outputs,
    logs,
  }: {
    readonly outputs: readonly [readonly number[], readonly number[]];
    readonly logs: readonly [Float32Array | undefined, Float32Array | undefined];
  },
): ComparedPrompt {
  const [a, b] = outputs;
  const common = commonLength(a, b);
  const [logsOfA, logsOfB] = logs;
  return {
    prompt,
    outputs: [tokenizer.decode(a), tokenizer.decode(b)],
    tokens: [a.length, b.length],
    commonTokens: common,
    commonText: tokenizer.decode(a.slice(0, common)),
    difference:
      logsOfA === undefined || logsOfB === undefined
        ? null
        : describeParting(tokenizer, outputs, [logsOfA, logsOfB], top),
  };
}

/** Of a conversation, what was said last. */
function promptText(prompt: BatchPrompt): string {
  return "prompt" in prompt ? prompt.prompt : (prompt.messages.at(-1)?.content ?? "");
}

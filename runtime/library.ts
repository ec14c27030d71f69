// `import { load } from "nibble"`: a model in a program of one's own.
import { type Isa, openDevice } from "../kernels/index.ts";
import type { CacheDtype } from "./cache/kv-cache.ts";
import {
  type Completion,
  type CompletionDelta,
  Engine,
  type GenerationConfig,
  parseSamplingOptions,
  readGenerationConfig,
  type SamplingOptions,
} from "./generation/index.ts";
import { type HeadMode, type Model, openModel } from "./model/index.ts";
import { readMessages } from "./server/messages.ts";
import { chatPrompt, openQwenTokenizer, type Tokenizer } from "./tokenizer/index.ts";

export { KernelError } from "../kernels/index.ts";
export { CheckpointError } from "./checkpoint/index.ts";
export { GenerationError } from "./generation/index.ts";
export type { CompletionDelta, SamplingOptions };

export type LoadOptions = {
  /** Cores to compute with; all by default. */
  readonly threads?: number;
  /** The highest instruction-set level to use. */
  readonly isa?: Isa;
  /** What keys and values are kept as, "f16" by default. */
  readonly kv?: CacheDtype;
  /** How the output head is computed, "screened" by default: the exact head's tokens, faster where greedy. */
  readonly head?: HeadMode;
  /** What inputs of quantized linears are rounded to, "int16" by default. */
  readonly activations?: "int16" | "int8";
  /** Tokens of all answers that are made together, prompts included; four times the longest by default. */
  readonly cacheTokens?: number;
};

export type AnswerOptions = Partial<SamplingOptions> & {
  /** The model's own limit by default. */
  readonly maxNewTokens?: number;
  /** Ends before any of these texts. */
  readonly stop?: readonly string[];
  /** How many of the most likely tokens to tell with each one. */
  readonly logprobs?: number;
  readonly signal?: AbortSignal;
};

export type ChatMessage = {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
};

/** An answer: read its deltas as they come, or wait for its text; once, either way. */
export type Answer = Completion & {
  /** @throws the signal's reason when aborted */
  text(): Promise<string>;
};

/**
 * Opens a model directory, float or quantized.
 *
 * ```ts
 * await using model = await load("my-Int4");
 * for await (const { text } of model.chat("What is 2 + 3?")) process.stdout.write(text);
 * ```
 *
 * @throws CheckpointError naming the file, tensor or field that is missing, broken or not supported; KernelError
 */
export async function load(dir: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const { threads, isa, kv = "f16", head = "screened", activations } = options;
  // Opened one after the other; a failure closes what was.
  const opened: Disposable[] = [];
  const keep = <T extends Disposable>(resource: T): T => {
    opened.unshift(resource);
    return resource;
  };
  try {
    const limits = { ...(threads && { threads }), ...(isa && { isa }) };
    const device = keep(openDevice(limits));
    const model = keep(openModel(dir, device, { kvCache: kv, head, activations }));
    const tokenizer = keep(openQwenTokenizer(dir));
    const config = readGenerationConfig(dir);
    const cacheTokens = options.cacheTokens ?? 4 * model.shape.maxLength;
    const engine = new Engine(model, tokenizer, { cacheTokens });
    return new LoadedModel({ model, tokenizer, engine, config }, opened);
  } catch (error) {
    for (const resource of opened) resource[Symbol.dispose]();
    throw error;
  }
}

type Parts = {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
  readonly config: GenerationConfig;
};

/** A model that answers, any number of questions at a time. */
export class LoadedModel implements AsyncDisposable {
  readonly #parts: Parts;
  readonly #opened: readonly Disposable[];

  constructor(parts: Parts, opened: readonly Disposable[]) {
    this.#parts = parts;
    this.#opened = opened;
  }

  get tokenizer(): Tokenizer {
    return this.#parts.tokenizer;
  }

  /** Tokens of the longest prompt and answer together. */
  get maxLength(): number {
    return this.#parts.engine.maxLength;
  }

  /**
   * Answers a conversation, or one question.
   *
   * @throws GenerationError for options and prompts that are not valid; RangeError for a model without a chat format or messages
   *   that do not alternate
   */
  chat(messages: string | readonly ChatMessage[], options: AnswerOptions = {}): Answer {
    const { tokenizer, config } = this.#parts;
    if (config.chatFormat !== "chatml") {
      throw new RangeError("this is a base model without a chat format; use complete");
    }
    const { endOfText, imStart, imEnd } = tokenizer.specials;
    const said = typeof messages === "string" ? [{ role: "user", content: messages }] : messages;
    const conversation = readMessages(said as readonly ChatMessage[], []);
    const maxWindow = Number.POSITIVE_INFINITY;
    const prompt = chatPrompt(tokenizer, { ...conversation, maxWindow });
    return this.#submit(prompt, [[endOfText], [imStart], [imEnd]], options);
  }

  /** Continues a text, or token ids. @throws GenerationError as `chat` */
  complete(prompt: string | ArrayLike<number>, options: AnswerOptions = {}): Answer {
    const { tokenizer } = this.#parts;
    const ids = typeof prompt === "string" ? tokenizer.encode(prompt) : prompt;
    return this.#submit(ids, [[tokenizer.specials.endOfText]], options);
  }

  #submit(
    prompt: ArrayLike<number>,
    stopIds: readonly (readonly number[])[],
    options: AnswerOptions,
  ): Answer {
    const { engine, config } = this.#parts;
    const { maxNewTokens, stop = [], logprobs, signal, ...sampling } = options;
    const room = Math.max(1, engine.maxLength - prompt.length);
    const completion = engine.submit({
      ...{ prompt, logprobs, signal },
      maxNewTokens: maxNewTokens ?? Math.min(config.maxNewTokens, room),
      sampling: parseSamplingOptions({ ...config.sampling, ...sampling }),
      stop: { ids: stopIds, strings: stop },
    });
    return Object.assign(completion, {
      async text() {
        let text = "";
        for await (const delta of completion) text += delta.text;
        return text;
      },
    });
  }

  /** Ends answers under way and gives everything back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.engine[Symbol.asyncDispose]();
    for (const resource of this.#opened) resource[Symbol.dispose]();
  }
}

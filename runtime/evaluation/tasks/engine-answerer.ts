// A model as tasks see it: the engine computes many questions together, and once what they have in common.
import {
  defaultSampling,
  Engine,
  type GenerationConfig,
  type StopOptions,
  type TokenConstraint,
} from "../../generation/index.ts";
import type { Model } from "../../model/index.ts";
import { chatPrompt, defaultSystem, type Tokenizer } from "../../tokenizer/index.ts";
import { EvaluationError } from "../errors.ts";
import type { Answerer, ChatQuery, ContinueQuery, LettersQuery, Reply } from "./task.ts";

/** The scripts turn sampling and the penalty of repetitions off. */
const greedy = { ...defaultSampling, temperature: 0 };

export class EngineAnswerer implements Answerer, AsyncDisposable {
  readonly #model: Model;
  readonly #tokenizer: Tokenizer;
  readonly #config: GenerationConfig;
  readonly #engine: Engine;

  /** @param cacheTokens  of all questions that are computed together */
  constructor(
    model: Model,
    tokenizer: Tokenizer,
    { config, cacheTokens }: { readonly config: GenerationConfig; readonly cacheTokens: number },
  ) {
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#config = config;
    this.#engine = new Engine(model, tokenizer, { cacheTokens });
  }

  /**
   * @throws EvaluationError EVALUATION_MISMATCH if a letter is not one token, EVALUATION_NOT_FINITE; GenerationError; the signal's
   *   reason
   */
  async letterLogits(query: LettersQuery, signal?: AbortSignal): Promise<Reply> {
    const ids = query.letters.map((letter) => this.#tokenOf(letter));
    const encoded = this.#tokenizer.encode(query.prompt);
    const { prompt, isCut } = this.#fit(encoded.subarray(-query.maxTokens), 1);
    const letters = new Letters(ids, this.#model.shape.vocabulary);
    const request = { prompt, maxNewTokens: 1, sampling: greedy, constraint: letters, signal };
    for await (const _ of this.#engine.submit(request));
    const { logits } = letters;
    if (!logits.every(Number.isFinite)) {
      throw new EvaluationError(
        "EVALUATION_NOT_FINITE",
        `${this.#model.checkpoint.dir}: a logit is ${logits.find((logit) => !Number.isFinite(logit))}; ` +
          "some weight or activation of this model is not finite",
      );
    }
    // The first of equals, by letter and not by id.
    const best = logits.indexOf(Math.max(...logits));
    return { text: query.letters[best] ?? "", logits, isCut };
  }

  /** @throws GenerationError; the signal's reason */
  async generate(query: ContinueQuery | ChatQuery, signal?: AbortSignal): Promise<Reply> {
    const isChat = query.kind === "chat";
    const maxNewTokens = isChat ? this.#config.maxNewTokens : query.maxNewTokens;
    const { prompt, isCut } = this.#fit(this.#encode(query), maxNewTokens);
    const { endOfText, imStart, imEnd } = this.#tokenizer.specials;
    const stop: StopOptions = isChat
      ? { ids: [[endOfText], [imStart], [imEnd]] }
      : { ids: [[endOfText]], strings: query.stop };
    const completion = this.#engine.submit({
      ...{ prompt, maxNewTokens, sampling: greedy, stop, signal },
    });
    let text = "";
    for await (const delta of completion) text += delta.text;
    return { text: isChat ? text.trim() : text, logits: [], isCut };
  }

  #encode(query: ContinueQuery | ChatQuery): Int32Array {
    if (query.kind === "chat") {
      return chatPrompt(this.#tokenizer, {
        ...{ system: defaultSystem, history: [], query: query.message },
        maxWindow: this.#config.maxWindow,
      });
    }
    return this.#tokenizer.encode(query.prompt, { allowedSpecial: query.allowedSpecial });
  }

  /** The end of a prompt that leaves room for what is generated. */
  #fit(
    ids: Int32Array,
    newTokens: number,
  ): { readonly prompt: Int32Array; readonly isCut: boolean } {
    const room = this.#engine.maxLength - newTokens;
    if (room >= 1) return { prompt: ids.subarray(-room), isCut: ids.length > room };
    throw new EvaluationError(
      "EVALUATION_OPTION",
      `${this.#model.checkpoint.dir} takes at most ${this.#engine.maxLength} tokens, which leaves no room for a question ` +
        `before the ${newTokens} that are generated`,
    );
  }

  #tokenOf(letter: string): number {
    const ids = this.#tokenizer.encode(letter);
    const [id] = ids;
    if (ids.length === 1 && id !== undefined) return id;
    throw new EvaluationError(
      "EVALUATION_MISMATCH",
      `${this.#model.checkpoint.dir}: its tokenizer has no single token for ${JSON.stringify(letter)} but ${ids.length}, so the ` +
        "letters of multiple choice cannot be compared; --chat has a chat model answer in words",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
  }
}

/** Lets only letters follow, and keeps their logits. */
class Letters implements TokenConstraint {
  logits: readonly number[] = [];
  readonly #ids: readonly number[];
  readonly #mask: Int32Array;

  constructor(ids: readonly number[], vocabulary: number) {
    this.#ids = ids;
    this.#mask = new Int32Array(Math.ceil(vocabulary / 32));
    for (const id of ids) this.#mask[id >> 5] = (this.#mask[id >> 5] ?? 0) | (1 << (id & 31));
  }

  mask(): Promise<Int32Array> {
    return Promise.resolve(this.#mask);
  }

  observe(logits: Float32Array): void {
    this.logits = this.#ids.map((id) => logits[id] ?? Number.NaN);
  }

  accept(): void {}

  [Symbol.dispose](): void {}
}

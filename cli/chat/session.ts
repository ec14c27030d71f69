// A conversation with a model: what was said, with what settings, and the next answer.
import {
  type ChatTurn,
  GenerationError,
  generateText,
  layOutChat,
  type Model,
  PrefixCache,
  PromptLookup,
  type SamplingOptions,
  type TextDelta,
  type Tokenizer,
} from "../../runtime/index.ts";
import type { AllowedSpecial } from "../arguments.ts";

/** What `/config` shows and changes. */
export type ChatSettings = SamplingOptions & {
  readonly maxNewTokens: number;
  /** Limit in tokens for system text and history of a prompt. */
  readonly maxWindow: number;
};

export type ChatAnswer = {
  readonly text: string;
  readonly finish: "stop" | "length" | "interrupted";
  readonly promptTokens: number;
  /** Tokens of the prompt that earlier turns had computed. */
  readonly reusedTokens: number;
  readonly tokens: number;
  /** Oldest turns that are not part of the prompt any more. */
  readonly droppedTurns: number;
  readonly seconds: number;
};

/** What a session needs of a program around it; a test has its own. */
export type ChatEngine = {
  /** [tokens] of a prompt, and how many of the newest turns it holds. */
  layOut(prompt: {
    readonly system: string;
    readonly history: readonly ChatTurn[];
    readonly query: string;
    readonly maxWindow: number;
  }): { readonly ids: Int32Array; readonly turns: number };
  /** Longest sequence, prompt and answer together. */
  readonly maxLength: number;
  generate(
    prompt: Int32Array,
    options: {
      readonly settings: ChatSettings;
      readonly maxNewTokens: number;
      readonly signal: AbortSignal;
    },
  ): AsyncIterable<TextDelta>;
  /** Tokens that the last prompt had in common with what was computed before it. */
  readonly reused: number;
};

export class ChatSession {
  system: string;
  settings: ChatSettings;
  readonly #engine: ChatEngine;
  readonly #initial: ChatSettings;
  readonly #history: ChatTurn[] = [];
  /** What was asked last, answered or not. */
  #lastQuery: string | undefined;

  constructor(engine: ChatEngine, system: string, settings: ChatSettings) {
    this.#engine = engine;
    this.system = system;
    this.settings = settings;
    this.#initial = settings;
  }

  get history(): readonly ChatTurn[] {
    return this.#history;
  }

  /** @returns how many turns were forgotten */
  clearHistory(): number {
    this.#lastQuery = undefined;
    return this.#history.splice(0).length;
  }

  resetSettings(): void {
    this.settings = this.#initial;
  }

  /** Forgets the last message and its answer, if it has one. @returns the message, if there is one */
  takeBack(): string | undefined {
    const query = this.#lastQuery;
    if (query !== undefined && this.#history.at(-1)?.query === query) this.#history.pop();
    return query;
  }

  /** Goes on with another conversation. */
  restore(saved: {
    readonly system: string;
    readonly settings: ChatSettings;
    readonly history: readonly ChatTurn[];
  }): void {
    this.system = saved.system;
    this.settings = saved.settings;
    this.#history.splice(0, this.#history.length, ...saved.history);
    this.#lastQuery = saved.history.at(-1)?.query;
  }

  /**
   * Answers a query; a finished answer becomes part of the history, an interrupted one does not.
   *
   * @param onText  gets the answer piece by piece, without white space at either end
   * @throws GenerationError GENERATION_LENGTH if the query leaves no room for an answer; whatever generation throws
   */
  async answer(
    query: string,
    signal: AbortSignal,
    onText: (text: string) => void,
  ): Promise<ChatAnswer> {
    const started = performance.now();
    const { ids, turns } = this.#prompt(query);
    const { settings } = this;
    this.#lastQuery = query;
    const maxNewTokens = Math.min(settings.maxNewTokens, this.#engine.maxLength - ids.length);
    const trimmed = createTrimmer(onText);
    let last: TextDelta = { text: "", tokens: 0, finish: undefined };
    try {
      for await (const delta of this.#engine.generate(ids, { settings, maxNewTokens, signal })) {
        last = delta;
        trimmed.push(delta.text);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    const finish = signal.aborted ? "interrupted" : (last.finish ?? "length");
    const droppedTurns = this.#history.length - turns;
    if (finish !== "interrupted") this.#history.push({ query, response: trimmed.text });
    return {
      ...{ text: trimmed.text, finish, tokens: last.tokens, droppedTurns },
      promptTokens: ids.length,
      reusedTokens: this.#engine.reused,
      seconds: (performance.now() - started) / 1000,
    };
  }

  /** Beyond what the window leaves out, the oldest turns go until prompt and answer have room. */
  #prompt(query: string): { ids: Int32Array; turns: number } {
    const { maxWindow, maxNewTokens } = this.settings;
    const { maxLength } = this.#engine;
    // Room for a whole answer where history can make it; a long query may leave less.
    for (const room of [Math.min(maxNewTokens, maxLength >> 1), 1]) {
      for (let skipped = 0; skipped <= this.#history.length; skipped++) {
        const history = this.#history.slice(skipped);
        const prompt = this.#engine.layOut({ system: this.system, history, query, maxWindow });
        if (prompt.ids.length + room <= maxLength) return prompt;
        // What the window has left out already need not be tried again.
        skipped = Math.max(skipped, this.#history.length - prompt.turns);
      }
    }
    throw new GenerationError(
      "GENERATION_LENGTH",
      `the message is too long: with the system text it leaves no room for an answer in the ${maxLength} tokens ` +
        "that this model takes; shorten it",
    );
  }
}

/** Passes text on without white space at its ends, as early as can be. */
function createTrimmer(onText: (text: string) => void): {
  push(text: string): void;
  readonly text: string;
} {
  let shown = "";
  let held = "";
  return {
    push(text) {
      held += text;
      const from = shown === "" ? held.trimStart() : held;
      const now = from.trimEnd();
      if (now === "") {
        held = from;
        return;
      }
      held = from.slice(now.length);
      shown += now;
      onText(now);
    },
    get text() {
      return shown;
    },
  };
}

/** A chat that outgrows its room computes everything once more: rarely, if the room is large. */
const cacheGrowth = 4;

/** The engine over a real model; keys and values of earlier turns are kept, so that only what is new is computed. */
export class ModelEngine implements ChatEngine, Disposable {
  readonly maxLength: number;
  readonly #model: Model;
  readonly #tokenizer: Tokenizer;
  readonly #allowedSpecial: AllowedSpecial;
  readonly #lookup: number | undefined;
  readonly #cache = new PrefixCache(cacheGrowth);

  /** @param options.lookup  tokens to guess at most, see PromptLookup; none by default */
  constructor(
    model: Model,
    tokenizer: Tokenizer,
    options: { readonly allowedSpecial: AllowedSpecial; readonly lookup?: number },
  ) {
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#allowedSpecial = options.allowedSpecial;
    this.#lookup = options.lookup;
    this.maxLength = model.shape.maxLength;
  }

  get reused(): number {
    return this.#cache.reused;
  }

  layOut(prompt: Parameters<ChatEngine["layOut"]>[0]): { ids: Int32Array; turns: number } {
    return layOutChat(this.#tokenizer, { ...prompt, allowedSpecial: this.#allowedSpecial });
  }

  generate(
    prompt: Int32Array,
    { settings, maxNewTokens, signal }: Parameters<ChatEngine["generate"]>[1],
  ): AsyncIterable<TextDelta> {
    const { maxNewTokens: _, maxWindow: __, ...sampling } = settings;
    const { endOfText, imStart, imEnd } = this.#tokenizer.specials;
    return generateText(this.#model, this.#tokenizer, {
      ...{ prompt, maxNewTokens, signal, cache: this.#cache },
      lookup: this.#lookup === undefined ? undefined : new PromptLookup(this.#lookup),
      sampling,
      stop: { ids: [[endOfText], [imStart], [imEnd]] },
    });
  }

  [Symbol.dispose](): void {
    this.#cache[Symbol.dispose]();
  }
}

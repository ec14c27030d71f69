import OpenAI from "openai";
import { type Device, openDevice } from "../../../kernels/index.ts";
import {
  type AppOptions,
  type Completion,
  type CompletionDelta,
  Engine,
  type EngineOptions,
  type EngineRequest,
  type EngineStats,
  GenerationError,
  type Listener,
  type Model,
  openModel,
  openQwenTokenizer,
  readGenerationConfig,
  type ServedModel,
  type Tokenizer,
} from "../../../runtime/index.ts";
import { createApp, listen } from "../../../runtime/server/index.ts";
import { miniPath } from "../generation/generate-support.ts";

const details = { quantization: "bf16", kvCache: "f16", device: "cpu" };

/** A server of the small model on a port of its own. */
export class TestServer implements AsyncDisposable {
  readonly device: Device;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
  readonly listener: Listener;
  readonly errors: unknown[];

  private constructor(parts: Omit<TestServer, "client" | typeof Symbol.asyncDispose>) {
    this.device = parts.device;
    this.model = parts.model;
    this.tokenizer = parts.tokenizer;
    this.engine = parts.engine;
    this.listener = parts.listener;
    this.errors = parts.errors;
  }

  static async start(
    options: AppOptions & { readonly engine?: Partial<EngineOptions> } = {},
  ): Promise<TestServer> {
    const device = openDevice({ threads: 2 });
    const model = openModel(miniPath, device, { kvCache: "f16" });
    const tokenizer = openQwenTokenizer(miniPath);
    const engine = new Engine(model, tokenizer, { cacheTokens: 16_384, ...options.engine });
    const errors: unknown[] = [];
    const config = readGenerationConfig(miniPath);
    const app = createApp(
      { id: "qwen-mini", engine, tokenizer, config, details },
      { onError: (error) => errors.push(error), ...options },
    );
    const listener = await listen(app, { host: "127.0.0.1", port: 0 });
    return new TestServer({ device, model, tokenizer, engine, listener, errors });
  }

  client(apiKey = "any"): OpenAI {
    return new OpenAI({ baseURL: `${this.listener.url}/v1`, apiKey, maxRetries: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close(0);
    await this.engine[Symbol.asyncDispose]();
    this.tokenizer[Symbol.dispose]();
    this.model[Symbol.dispose]();
    this.device[Symbol.dispose]();
  }
}

const idle = {
  ...{ running: 0, waiting: 0, steps: 0, promptTokens: 0, reusedTokens: 0, generatedTokens: 0 },
};

/** Answers with given texts, a few characters at a time, whatever is asked; keeps the prompts. */
export class ScriptedEngine {
  readonly prompts: string[] = [];
  readonly maxLength = 2048;
  readonly failure = undefined;
  readonly #tokenizer: Tokenizer;
  readonly #answers: string[];
  readonly #piece: number;
  readonly #pause: number;
  readonly requests: EngineRequest[] = [];
  cancelled = 0;

  /** @param pause  milliseconds between pieces; aborts are seen only then */
  constructor(tokenizer: Tokenizer, answers: readonly string[], piece = 3, pause = 0) {
    this.#pause = pause;
    this.#tokenizer = tokenizer;
    this.#answers = [...answers];
    this.#piece = piece;
  }

  readonly stats: EngineStats = {
    ...idle,
    cacheBlocks: { size: 16, total: 1, used: 0, idle: 0 },
  };

  submit(request: EngineRequest): Completion {
    if (request.prompt.length + request.maxNewTokens > this.maxLength) {
      throw new GenerationError("GENERATION_LENGTH", `a prompt of ${request.prompt.length} tokens`);
    }
    this.requests.push(request);
    this.prompts.push(this.#tokenizer.decode(Int32Array.from(request.prompt)));
    const stops = request.stop?.strings ?? [];
    const whole = this.#answers.shift() ?? "";
    const end = Math.min(...stops.map((stop) => whole.indexOf(stop)).filter((at) => at >= 0), 1e9);
    const text = whole.slice(0, end);
    const piece = this.#piece;
    const pause = this.#pause;
    request.signal?.addEventListener("abort", () => {
      this.cancelled += 1;
    });
    return {
      promptTokens: request.prompt.length,
      reusedTokens: 0,
      cancel: () => {},
      async *[Symbol.asyncIterator](): AsyncGenerator<CompletionDelta, void> {
        let tokens = 0;
        for (let at = 0; at < text.length; at += piece) {
          tokens += 1;
          if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
          request.signal?.throwIfAborted();
          const delta = { text: text.slice(at, at + piece), id: 1, logprobs: undefined };
          yield { ...delta, tokens, finish: undefined };
        }
        yield { text: "", id: undefined, logprobs: undefined, tokens, finish: "stop" };
      },
    };
  }
}

/** A client of an app without a socket, whose model says what a script says. */
export function scriptedClient(
  tokenizer: Tokenizer,
  answers: readonly string[],
  piece?: number,
): { readonly client: OpenAI; readonly engine: ScriptedEngine } {
  const engine = new ScriptedEngine(tokenizer, answers, piece);
  const config = readGenerationConfig(miniPath);
  const served: ServedModel = { id: "scripted", engine, tokenizer, config, details };
  const app = createApp(served);
  const client = new OpenAI({
    baseURL: "http://localhost/v1",
    apiKey: "any",
    maxRetries: 0,
    fetch: async (url, init) => app.fetch(new Request(String(url), init as RequestInit)),
  });
  return { client, engine };
}

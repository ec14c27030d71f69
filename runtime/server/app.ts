// Requests to responses, in web-standard terms: runs on any server, and in tests without one.
import { Hono, type Context as HonoContext } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { routePath } from "hono/route";
import type { z } from "zod";
import type { AnswerContext } from "./answer.ts";
import { authorization, type Credentials } from "./authorization.ts";
import { completeChat, encodeMessages } from "./chat.ts";
import { completeText } from "./completions.ts";
import { ApiError, toApiError } from "./errors.ts";
import { GrammarSource } from "./grammar.ts";
import { Lifetime } from "./lifetime.ts";
import { Metrics } from "./metrics.ts";
import { openApiDocument } from "./openapi.ts";
import { pageFile, pageFolder } from "./page.ts";
import { chatSchema, completionSchema, detokenizeSchema, tokenizeSchema } from "./schemas.ts";
import { requireChat, requireModel, type ServedModel, type Service } from "./service.ts";
import { noTools } from "./tools.ts";

export type AppOptions = {
  readonly credentials?: Credentials | undefined;
  /** Origins whose pages may use the API; none by default, "*" for all. */
  readonly origins?: readonly string[] | undefined;
  /** Bytes of a request's body, 4 MiB by default. */
  readonly maxBodyBytes?: number | undefined;
  /** Milliseconds that a request may take, ten minutes by default. */
  readonly timeLimit?: number | undefined;
  /** Where the built chat page is; beside this module by default. */
  readonly pageFolder?: string | undefined;
  /** Called with failures that are the server's own. */
  readonly onError?: ((error: unknown) => void) | undefined;
};

const defaults = { maxBodyBytes: 4 * 2 ** 20, timeLimit: 600_000 };

export type App = Hono;

export function createApp(model: ServedModel, options: AppOptions = {}): App {
  const service: Service = {
    ...model,
    created: Math.floor(Date.now() / 1000),
    grammars: new GrammarSource(model.tokenizer),
    metrics: new Metrics(model.engine),
    timeLimit: options.timeLimit ?? defaults.timeLimit,
  };
  const report = options.onError ?? (() => {});
  const app = new Hono();
  addGuards(app, service, options, report);
  addInformation(app, service);
  addTokenization(app, service);
  app.post("/v1/chat/completions", async (context) => {
    const body = await readBody(context, chatSchema);
    return withLifetime(context, service, report, (rest) => completeChat(service, body, rest));
  });
  app.post("/v1/completions", async (context) => {
    const body = await readBody(context, completionSchema);
    return withLifetime(context, service, report, (rest) => completeText(service, body, rest));
  });
  const folder = options.pageFolder ?? pageFolder;
  app.get("/", () => pageFile(folder, "index.html"));
  app.get("/web/:name", (context) => pageFile(folder, context.req.param("name")));
  return app;
}

function addGuards(
  app: Hono,
  { metrics }: Service,
  { credentials = {}, origins = [], maxBodyBytes = defaults.maxBodyBytes }: AppOptions,
  report: (error: unknown) => void,
): void {
  app.onError((error) => {
    const told = toApiError(error);
    if (told.status >= 500) report(told.cause ?? told);
    return told.toResponse();
  });
  app.notFound((context) =>
    new ApiError(404, `${context.req.method} ${context.req.path} is not known here`, {
      code: "unknown_url",
    }).toResponse(),
  );
  app.use(async (context, next) => {
    const started = performance.now();
    await next();
    const seconds = (performance.now() - started) / 1000;
    metrics.countRequest(routePath(context, -1), context.res.status, seconds);
  });
  if (origins.length > 0) app.use(cors({ origin: origins.includes("*") ? "*" : [...origins] }));
  // A key is asked for by the page; a password by the browser, before it shows anything.
  const isPage = (path: string) => path === "/" || path.startsWith("/web/");
  const isOpen = (path: string) =>
    path === "/health" || (credentials.basic === undefined && isPage(path));
  app.use(authorization(credentials, isOpen));
  app.use(
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: () => {
        throw new ApiError(413, `the body is larger than ${maxBodyBytes} bytes`, {
          code: "body_too_large",
        });
      },
    }),
  );
}

function addInformation(app: Hono, service: Service): void {
  const { id, created, engine, config, details } = service;
  const { sampling, maxNewTokens } = config;
  const model = {
    ...{ id, object: "model", created, owned_by: "nibble" },
    nibble: {
      quantization: details.quantization,
      kv_cache: details.kvCache,
      device: details.device,
      max_length: engine.maxLength,
      chat: config.chatFormat === "chatml",
      sampling: {
        temperature: sampling.temperature,
        top_p: sampling.topP,
        top_k: sampling.topK,
        repetition_penalty: sampling.repetitionPenalty,
        max_tokens: maxNewTokens,
      },
    },
  };
  app.get("/v1/models", (context) => context.json({ object: "list", data: [model] }));
  app.get("/v1/models/:id{.+}", (context) => {
    requireModel(service, context.req.param("id"));
    return context.json(model);
  });
  app.get("/health", (context) =>
    engine.failure === undefined
      ? context.json({ status: "ok" })
      : context.json({ status: "failed" }, 503),
  );
  app.get("/metrics", () => service.metrics.toResponse());
  const document = openApiDocument(id);
  app.get("/openapi.json", (context) => context.json(document));
}

/** As vLLM has them. */
function addTokenization(app: Hono, service: Service): void {
  app.post("/tokenize", async (context) => {
    const body = await readBody(context, tokenizeSchema);
    requireModel(service, body.model);
    if ("messages" in body) requireChat(service);
    const tokens = Array.from(
      "messages" in body
        ? encodeMessages(service, body.messages, noTools)
        : service.tokenizer.encode(body.prompt),
    );
    const { maxLength } = service.engine;
    return context.json({ tokens, count: tokens.length, max_model_len: maxLength });
  });
  app.post("/detokenize", async (context) => {
    const { model, tokens } = await readBody(context, detokenizeSchema);
    requireModel(service, model);
    const unknown = tokens.findIndex((id) => id >= service.tokenizer.vocabularySize);
    if (unknown >= 0) {
      throw new ApiError(400, `tokens.${unknown}: ${tokens[unknown]} is no token of this model`, {
        ...{ param: "tokens", code: "invalid_value" },
      });
    }
    return context.json({ prompt: service.tokenizer.decode(tokens) });
  });
}

async function withLifetime(
  context: HonoContext,
  service: Service,
  onError: (error: unknown) => void,
  answer: (rest: Pick<AnswerContext, "started" | "onError" | "lifetime">) => Promise<Response>,
): Promise<Response> {
  const started = performance.now();
  const lifetime = new Lifetime(context.req.raw.signal, service.timeLimit);
  try {
    return await answer({ started, onError, lifetime });
  } catch (error) {
    lifetime[Symbol.dispose]();
    throw error;
  }
}

/**
 * A request's body, checked.
 *
 * @throws ApiError 400 naming the field that is wrong
 */
async function readBody<T>(context: HonoContext, schema: z.ZodType<T>): Promise<T> {
  const bytes = await context.req.arrayBuffer();
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ApiError(400, `the body is not JSON in UTF-8: ${reason}`, {
      ...{ code: "invalid_json", cause },
    });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const param = issue?.path.join(".") ?? "";
  const where = param === "" ? "the body" : param;
  throw new ApiError(400, `${where}: ${issue?.message ?? "not valid"}`, {
    ...{ param: param === "" ? undefined : param, code: "invalid_value" },
  });
}

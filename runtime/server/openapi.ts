// A description of the API that programs read (https://spec.openapis.org/oas/v3.1.0), from the schemas that requests are checked by.
import { z } from "zod";
import { chatSchema, completionSchema, detokenizeSchema, tokenizeSchema } from "./schemas.ts";

type Operation = {
  readonly summary: string;
  readonly body?: z.ZodType;
  readonly answer: string;
};

const operations: Readonly<Record<string, Readonly<Record<string, Operation>>>> = {
  "/v1/models": { get: { summary: "The model that is served.", answer: "application/json" } },
  "/v1/chat/completions": {
    post: {
      summary: "Answers a conversation; with `stream`, as server-sent events.",
      body: chatSchema,
      answer: "application/json",
    },
  },
  "/v1/completions": {
    post: {
      summary: "Continues prompts; with `stream`, as server-sent events.",
      body: completionSchema,
      answer: "application/json",
    },
  },
  "/tokenize": {
    post: {
      summary: "Token ids of a prompt or of messages.",
      body: tokenizeSchema,
      answer: "application/json",
    },
  },
  "/detokenize": {
    post: { summary: "The text of token ids.", body: detokenizeSchema, answer: "application/json" },
  },
  "/health": {
    get: { summary: "200 while the engine works, else 503.", answer: "application/json" },
  },
  "/metrics": { get: { summary: "Counters for Prometheus.", answer: "text/plain" } },
};

const error = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["message", "type", "param", "code"],
      properties: {
        message: { type: "string" },
        type: { type: "string" },
        param: { type: ["string", "null"] },
        code: { type: ["string", "null"] },
      },
    },
  },
};

export function openApiDocument(model: string): object {
  const paths = Object.entries(operations).map(([path, methods]) => {
    const described = Object.entries(methods).map(([method, operation]) => [
      method,
      describe(operation),
    ]);
    return [path, Object.fromEntries(described)];
  });
  return {
    openapi: "3.1.0",
    info: { title: `nibble: ${model}`, version: "1" },
    paths: Object.fromEntries(paths),
    components: {
      schemas: { Error: error },
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
    },
    security: [{}, { bearer: [] }],
  };
}

function describe({ summary, body, answer }: Operation): object {
  const failure = {
    description: "What is wrong, in OpenAI's shape.",
    content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
  };
  return {
    summary,
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { "application/json": { schema: schemaOf(body) } },
          },
        }),
    responses: {
      "200": { description: "The answer.", content: { [answer]: {} } },
      default: failure,
    },
  };
}

/** The document has a dialect of its own, so the schema does not name one. */
function schemaOf(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return rest;
}

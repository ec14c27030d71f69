// The server's API, as far as the page uses it.

export type Sampling = {
  readonly temperature: number;
  readonly top_p: number;
  readonly top_k: number;
  readonly repetition_penalty: number;
  readonly max_tokens: number;
};

export type ModelInfo = {
  readonly id: string;
  readonly nibble: {
    readonly quantization: string;
    readonly kv_cache: string;
    readonly device: string;
    readonly max_length: number;
    readonly chat: boolean;
    readonly sampling: Sampling;
  };
};

export type ApiMessage = {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
};

export type AnswerEvent =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "finish"; readonly reason: string }
  | { readonly kind: "usage"; readonly tokens: number };

/** The server wants a key, or another one. */
export class KeyNeeded extends Error {}

const keyName = "nibble-key";

export function keepKey(key: string): void {
  sessionStorage.setItem(keyName, key);
}

export async function firstModel(): Promise<ModelInfo> {
  const response = await call("/v1/models");
  const { data } = (await response.json()) as { data: ModelInfo[] };
  const [model] = data;
  if (model === undefined) throw new Error("the server has no model");
  return model;
}

/** An answer as it comes; aborting the signal stops it on the server too. */
export async function* streamAnswer(
  body: object,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent, void> {
  const response = await call("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (response.body === null) return;
  for await (const data of serverSentEvents(response.body)) {
    if (data === "[DONE]") return;
    yield* eventsOf(JSON.parse(data) as Chunk);
  }
  throw new Error("the connection ended before the answer did");
}

type Chunk = {
  readonly error?: { readonly message: string };
  readonly usage?: { readonly completion_tokens: number } | null;
  readonly choices?: readonly {
    readonly delta: { readonly content?: string | null };
    readonly finish_reason: string | null;
  }[];
};

function* eventsOf({ error, usage, choices }: Chunk): Iterable<AnswerEvent> {
  if (error !== undefined) throw new Error(error.message);
  const choice = choices?.[0];
  const text = choice?.delta.content ?? "";
  if (text !== "") yield { kind: "text", text };
  const reason = choice?.finish_reason ?? null;
  if (reason !== null) yield { kind: "finish", reason };
  if (usage) yield { kind: "usage", tokens: usage.completion_tokens };
}

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const key = sessionStorage.getItem(keyName);
  const headers = new Headers(init.headers);
  if (key !== null) headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(path, { ...init, headers });
  if (response.status === 401) throw new KeyNeeded();
  if (response.ok) return response;
  const told = (await response.json().catch(() => undefined)) as Chunk | undefined;
  throw new Error(told?.error?.message ?? `the server answered ${response.status}`);
}

/** The data of each event; our server writes one line of it. */
async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += decoder.decode(value, { stream: true });
    const events = held.split("\n\n");
    held = events.pop() ?? "";
    for (const event of events) {
      if (event.startsWith("data: ")) yield event.slice("data: ".length);
    }
  }
}

// Answers as they come: several at once, and as server-sent events.
import type { Completion, CompletionDelta } from "../generation/index.ts";
import { Delivery } from "../generation/index.ts";
import { toApiError } from "./errors.ts";

export type ChoiceDelta = { readonly index: number; readonly delta: CompletionDelta };

/** The deltas of all, in the order in which they come. Not reading to the end cancels them. */
export async function* mergeChoices(
  completions: readonly Completion[],
): AsyncGenerator<ChoiceDelta, void> {
  const delivery = new Delivery<ChoiceDelta>();
  const pump = async (completion: Completion, index: number) => {
    for await (const delta of completion) delivery.push({ index, delta });
  };
  Promise.all(completions.map(pump)).then(
    () => delivery.end(),
    (error) => delivery.fail(error),
  );
  try {
    yield* delivery.read();
  } finally {
    for (const completion of completions) completion.cancel();
  }
}

const encoder = new TextEncoder();
const done = encoder.encode("data: [DONE]\n\n");

export type EventStreamOptions = {
  /** Called once when nothing more will be read, for whatever reason. */
  readonly onEnd: () => void;
  /** Called with what went wrong on the server's side. */
  readonly onError: (error: unknown) => void;
};

/**
 * Objects as server-sent events, the last of them "[DONE]". An event is made only when the one before it was taken; what a slow
 * client has not taken waits in the engine's delivery. A failure is told as an event: the status was sent long ago.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export function eventStream(
  events: AsyncGenerator<object, void>,
  { onEnd, onError }: EventStreamOptions,
): Response {
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = await events.next();
        if (next.done !== true) {
          controller.enqueue(encoder.encode(`data: ${JSON.stringify(next.value)}\n\n`));
          return;
        }
        controller.enqueue(done);
      } catch (error) {
        const told = toApiError(error);
        if (told.status >= 500) onError(error);
        controller.enqueue(encoder.encode(`data: ${JSON.stringify(told.body)}\n\n`));
      }
      onEnd();
      controller.close();
    },
    async cancel() {
      onEnd();
      await events.return();
    },
  });
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // Proxies such as nginx would hold events back.
      "x-accel-buffering": "no",
    },
  });
}

// When a request has to end: its client is gone, or its time is over.

import { ApiError } from "./errors.ts";

/** As nginx logs it; nobody is there to read it. */
const clientGone = 499;

/** A signal for one request. Plain listeners rather than AbortSignal.any, whose signals outlive requests in Node 20. */
export class Lifetime implements Disposable {
  readonly #controller = new AbortController();
  readonly #client: AbortSignal;
  readonly #timer: NodeJS.Timeout;
  readonly #onGone = () => this.#controller.abort(new ApiError(clientGone, "the client is gone"));

  /** @param limit  milliseconds */
  constructor(client: AbortSignal, limit: number) {
    this.#client = client;
    this.#timer = setTimeout(() => {
      this.#controller.abort(new DOMException("the time limit was reached", "TimeoutError"));
    }, limit);
    if (client.aborted) this.#onGone();
    else client.addEventListener("abort", this.#onGone, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#client.removeEventListener("abort", this.#onGone);
  }
}

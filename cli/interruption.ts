// Ctrl-C and SIGTERM, as one signal for a command to end by.
import { exitCodes, type StopRequest } from "./errors.ts";

export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  #handler: (() => void) | undefined;
  readonly #onInterrupt = () => {
    if (this.#handler === undefined) this.interrupt();
    else this.#handler();
  };
  readonly #onTerminate = () => this.#stop("terminated");

  /** Which of them came, if any. */
  request: StopRequest | undefined;

  /** Listens from now on. */
  constructor() {
    process.on("SIGINT", this.#onInterrupt).on("SIGTERM", this.#onTerminate);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The first call lets the command clean up; the second does not wait for it. */
  interrupt(): void {
    this.#stop("interrupted");
  }

  #stop(request: StopRequest): void {
    if (this.signal.aborted) process.exit(exitCodes[request]);
    this.request = request;
    this.#controller.abort(new DOMException(request, "AbortError"));
  }

  /** Lets Ctrl-C call a handler instead, until the result is disposed. */
  takeOver(handler: () => void): Disposable {
    const before = this.#handler;
    this.#handler = handler;
    return {
      [Symbol.dispose]: () => {
        this.#handler = before;
      },
    };
  }

  [Symbol.dispose](): void {
    process.off("SIGINT", this.#onInterrupt).off("SIGTERM", this.#onTerminate);
  }
}

import { call, type NativeGraph } from "./native.ts";

/** Recorded operations, from `Device.capture`. */
export class Graph implements Disposable {
  readonly #handle: NativeGraph;

  constructor(handle: NativeGraph) {
    this.#handle = handle;
  }

  /** Enqueues the operations once more. */
  replay(): void {
    call((addon) => addon.replay(this.#handle));
  }

  /** Gives up the memory that only the graph still holds; what was replayed before still runs. */
  [Symbol.dispose](): void {
    call((addon) => addon.disposeGraph(this.#handle));
  }
}

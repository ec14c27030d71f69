// One new token of one sequence, again and again: the same operations on the same tensors.
import type { F32, Graph } from "../../kernels/index.ts";
import type { KvCache } from "../cache/kv-cache.ts";
import { forward, type Model, Step, type StepPart, stepOptions } from "../model/index.ts";

/**
 * A step of one row, captured once: calling some 300 operations anew for each token would take the thread that calls them a
 * millisecond, on cores that are busy computing.
 */
export class Decoder implements Disposable {
  readonly #step: Step;
  readonly #graph: Graph;
  readonly #logits: F32;

  /** @param part  any row of the sequence; the model's blocks must have run before, so that nothing is loaded meanwhile */
  constructor(model: Model, cache: KvCache, part: StepPart) {
    const step = new Step(model.device, [part], { ...stepOptions(model), maxBlocks: cache.blocks });
    const { graph, result } = model.device.capture(() => {
      using hidden = forward(model, step, cache);
      return model.logits(hidden);
    });
    this.#step = step;
    this.#graph = graph;
    this.#logits = result;
  }

  /** @returns [1, vocabulary], the caller's to dispose; the next run overwrites it */
  run(part: StepPart): F32 {
    this.#step.update([part]);
    this.#graph.replay();
    return this.#logits.narrow(0, 0, 1);
  }

  [Symbol.dispose](): void {
    this.#graph[Symbol.dispose]();
    this.#logits[Symbol.dispose]();
    this.#step[Symbol.dispose]();
  }
}

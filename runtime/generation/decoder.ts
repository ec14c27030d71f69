// One new token of one sequence, again and again: the same operations on the same tensors.
import type { F32, Graph, Tensor } from "../../kernels/index.ts";
import type { KvCache } from "../cache/kv-cache.ts";
import { forward, type Model, Step, type StepPart, stepOptions } from "../model/index.ts";

/**
 * A step of one row, captured once: calling some 300 operations anew for each token would take the thread that calls them a
 * millisecond, on cores that are busy computing.
 */
export class Decoder<T extends "f32" | "i32"> implements Disposable {
  readonly #step: Step;
  readonly #graph: Graph;
  readonly #result: Tensor<T>;

  /**
   * @param part    any row of the sequence; the model's blocks must have run before, so that nothing is loaded meanwhile
   * @param finish  makes a result [1, …] of the hidden row [1, width]
   */
  constructor(model: Model, cache: KvCache, part: StepPart, finish: (hidden: F32) => Tensor<T>) {
    model.prepareDecoding();
    const step = new Step(model.device, [part], { ...stepOptions(model), maxBlocks: cache.blocks });
    const { graph, result } = model.device.capture(() => {
      using hidden = forward(model, step, cache);
      return finish(hidden);
    });
    this.#step = step;
    this.#graph = graph;
    this.#result = result;
  }

  /** @returns the caller's to dispose; the next run overwrites it */
  run(part: StepPart): Tensor<T> {
    this.#step.update([part]);
    this.#graph.replay();
    return this.#result.narrow(0, 0, 1);
  }

  [Symbol.dispose](): void {
    this.#graph[Symbol.dispose]();
    this.#result[Symbol.dispose]();
    this.#step[Symbol.dispose]();
  }
}

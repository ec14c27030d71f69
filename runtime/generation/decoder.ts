// One new token of each of some sequences, again and again: the same operations on the same tensors.
import type { F32, Graph, Tensor } from "../../kernels/index.ts";
import type { KvCache } from "../cache/kv-cache.ts";
import { forward, type Model, Step, type StepPart, stepOptions } from "../model/index.ts";

export type DecoderShape = {
  /** Cache blocks that a sequence may come to have. */
  readonly maxBlocks: number;
};

/**
 * A step of one row for each part, captured once: calling some 300 operations anew for each token would take the thread that calls
 * them a millisecond, on cores that are busy computing.
 */
export class Decoder<T extends "f32" | "i32"> implements Disposable {
  readonly #step: Step;
  readonly #graph: Graph;
  readonly #result: Tensor<T>;

  /**
   * @param parts   any rows of as many sequences; the model's blocks must have run before, so that nothing is loaded meanwhile
   * @param finish  makes a result [parts, …] of the hidden rows [parts, width]
   */
  constructor(
    model: Model,
    cache: KvCache,
    parts: readonly StepPart[],
    { maxBlocks, finish }: DecoderShape & { readonly finish: (hidden: F32) => Tensor<T> },
  ) {
    model.prepareDecoding();
    const step = new Step(model.device, parts, { ...stepOptions(model), maxBlocks });
    const { graph, result } = model.device.capture(() => {
      using hidden = forward(model, step, cache);
      return finish(hidden);
    });
    this.#step = step;
    this.#graph = graph;
    this.#result = result;
  }

  /**
   * @param parts  as many as at first, of a token each
   * @returns the caller's to dispose; the next run overwrites it
   */
  run(parts: readonly StepPart[]): Tensor<T> {
    this.#step.update(parts);
    this.#graph.replay();
    return this.#result.narrow(0, 0, parts.length);
  }

  [Symbol.dispose](): void {
    this.#graph[Symbol.dispose]();
    this.#result[Symbol.dispose]();
    this.#step[Symbol.dispose]();
  }
}

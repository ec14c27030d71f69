import { type F32, ops } from "../../kernels/index.ts";
import type { KvCache } from "../cache/kv-cache.ts";
import type { Block, BlockState, Model, StageContext } from "./architecture.ts";
import type { Step, StepOptions } from "./step.ts";

/** What a step must know of the model that it is for. */
export function stepOptions(model: Model): StepOptions {
  return {
    headDim: model.shape.headDim,
    queryScale: (position) => model.queryScale(position),
  };
}

/** The state with its input computed where a norm stands for it. */
export function withInput(state: BlockState): BlockState {
  const { hidden, norm } = state;
  if (norm === undefined) return state;
  return { hidden, input: ops.rmsNorm(hidden, norm.weight, norm.epsilon) };
}

/** Runs all stages of a block; takes ownership of `hidden` [rows, width] and returns a new one. */
export function runBlock(block: Block, hidden: F32, context: StageContext): F32 {
  let state = block.begin(hidden);
  for (const stage of block.stages) state = stage.run(state, context);
  return state.hidden;
}

/**
 * The residual stream after the last block.
 *
 * @returns [step.rows, width], to be given to model.logits
 */
export function forward(model: Model, step: Step, cache: KvCache): F32 {
  let hidden = model.embed(step);
  for (let i = 0; i < model.shape.layers; i++) {
    hidden = runBlock(model.block(i), hidden, { step, cache: cache.layer(i) });
  }
  return hidden;
}

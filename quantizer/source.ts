import type { Model } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";
import { methods } from "./methods/index.ts";
import type { Recipe } from "./recipe.ts";

/** @throws QuantizeError QUANTIZE_SOURCE if this model cannot be quantized with this data */
export function checkSource(model: Model, segments: readonly Int32Array[], recipe: Recipe): void {
  const { dir } = model.checkpoint;
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_SOURCE", `${dir}: ${problem}`);
  };
  if (model.quantization !== undefined) {
    refuse("is quantized already; give the float model it was made from");
  }
  const tokens = segments.reduce((sum, ids) => sum + ids.length, 0);
  if (tokens === 0 && methods[recipe.method].needsHessian) {
    refuse(`${recipe.method} needs calibration data; not one token was given`);
  }
  for (const segment of segments) {
    const id = segment.find((token) => token < 0 || token >= model.shape.vocabulary);
    if (id !== undefined) {
      refuse(
        `calibration token ${id} is outside the vocabulary of ${model.shape.vocabulary}; ` +
          "was the data tokenized for another model?",
      );
    }
  }
}

import type { Device } from "../kernels/index.ts";
import { type Linear, type Model, openModel } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";
import { methods } from "./methods/index.ts";
import type { LinearExtents } from "./output.ts";
import type { QuantizeOptions } from "./pipeline.ts";

/** @throws QuantizeError QUANTIZE_SOURCE if this model cannot be quantized with this data */
export function checkSource(
  model: Model,
  { segments, masks, recipe }: Pick<QuantizeOptions, "segments" | "masks" | "recipe">,
): void {
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
  const isCounted = segments.some((_, i) => masks?.[i]?.includes(1) ?? true);
  if (tokens > 0 && !isCounted) refuse("not one token of the calibration data counts");
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

/** Read without an adapter: extents need no merged weights. */
export function linearExtents(source: string, device: Device): LinearExtents {
  using model = openModel(source, device);
  const extents = new Map<string, Linear>();
  for (let i = 0; i < model.shape.layers; i++) {
    using block = model.loadBlock(i);
    for (const name of block.stages.flatMap(({ linears }) => linears)) {
      extents.set(`${block.name}.${name}`, block.linear(name));
    }
  }
  return extents;
}

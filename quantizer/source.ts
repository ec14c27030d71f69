import type { Device } from "../kernels/index.ts";
import { type Model, openModel, peekBlock } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";
import { methods } from "./methods/index.ts";
import type { QuantizeOptions } from "./pipeline.ts";
import type { StagedLinear, StagedLinears } from "./schemes.ts";
import { checkStatistics } from "./statistics-file.ts";

/** @throws QuantizeError QUANTIZE_SOURCE if this model cannot be quantized with this data */
export function checkSource(
  model: Model,
  options: Pick<QuantizeOptions, "segments" | "masks" | "recipe" | "statistics">,
): void {
  const { segments, masks, recipe, statistics } = options;
  const { dir } = model.checkpoint;
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_SOURCE", `${dir}: ${problem}`);
  };
  if (model.quantization !== undefined) {
    refuse("is quantized already; give the float model it was made from");
  }
  if (statistics !== undefined) checkStatistics(statistics, model);
  const tokens = segments.reduce((sum, ids) => sum + ids.length, 0);
  if (tokens === 0 && statistics === undefined && methods[recipe.method].needsHessian) {
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
export function linearExtents(source: string, device: Device): StagedLinears {
  using model = openModel(source, device);
  const extents = new Map<string, StagedLinear>();
  for (let i = 0; i < model.shape.layers; i++) {
    using block = peekBlock(model, i);
    for (const [stage, { linears }] of block.stages.entries()) {
      for (const part of linears) {
        const { inFeatures, outFeatures } = block.linear(part);
        extents.set(`${block.name}.${part}`, { inFeatures, outFeatures, part, stage });
      }
    }
  }
  return extents;
}

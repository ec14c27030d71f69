import type { Model } from "./architecture.ts";

/**
 * Tensors of the checkpoint that the model makes no use of: blocks beyond those of config.json, an adapter that was not
 * merged, buffers of another framework. The model runs without them, perhaps not as its maker meant.
 */
export function unusedTensors(model: Model): readonly string[] {
  const shapes = model.tensorShapes();
  const isUsed = (name: string): boolean => {
    if (shapes.has(name)) return true;
    const [, owner, part] = /^(.+)\.(qweight|qzeros|scales|g_idx|bias)$/.exec(name) ?? [];
    const isLinear = owner !== undefined && shapes.has(`${owner}.weight`);
    return isLinear && (part === "bias" || model.quantization !== undefined);
  };
  return [...model.checkpoint.tensors.keys()].filter((name) => !isUsed(name));
}

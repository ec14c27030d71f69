// A float model's linears rounded to nearest and packed, without writing a checkpoint.
import { type Device, ops } from "../../kernels/index.ts";
import { methods } from "../../quantizer/methods/index.ts";
import type { Recipe } from "../../quantizer/recipe.ts";
import { encodeLinear, gptqLinear, type Linear, type Model } from "../../runtime/index.ts";

/** Puts rounded and packed linears in the place of a float model's, as the pipeline does, each as `wrap` returns it. */
export async function roundLinears(
  model: Model,
  device: Device,
  recipe: Recipe,
  wrap: (linear: Linear) => Linear = (linear) => linear,
): Promise<void> {
  const castCounts = device.zeros("i32", [2]);
  const options = { bits: recipe.bits, dtype: recipe.dtype, groupSize: recipe.groupSize };
  using solver = await methods.rtn.prepare(undefined, recipe);
  for (let i = 0; i < model.shape.layers; i++) {
    const block = model.block(i);
    for (const name of block.stages.flatMap(({ linears }) => linears)) {
      const { weight, bias } = block.linear(name);
      const result = solver.quantize(ops.cast(weight!, "f32", castCounts));
      const encoded = encodeLinear(result, bias, {
        ...options,
        ...{ checkpointFormat: "gptq", castCounts },
      });
      const { groupIndex } = result;
      block.replace(name, wrap(gptqLinear(encoded.weight, encoded.bias, { groupIndex })));
    }
  }
}

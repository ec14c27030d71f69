// What 16-bit activations cost: the divergence of a quantized model from itself computed with f32 activations.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Device, type F32, openDevice, ops } from "../../../kernels/index.ts";
import { methods } from "../../../quantizer/methods/index.ts";
import { parseRecipe } from "../../../quantizer/recipe.ts";
import {
  encodeLinear,
  gptqLinear,
  type Linear,
  type Model,
  openModel,
  openQwenTokenizer,
} from "../../../runtime/index.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { repositoryPath } from "../../support/shared.ts";

const source = repositoryPath("examples", "qwen-mini");

/** The same stored weight, multiplied in f32. */
function plainLinear(linear: Linear): Linear {
  const { stored, bias } = linear;
  const apply = (x: F32, residual?: F32): F32 => {
    const y = ops.linearGptq(x, stored!, bias);
    return residual === undefined ? y : ops.add(residual, y);
  };
  return { ...linear, apply, [Symbol.dispose]() {} };
}

/** Rounds every linear to nearest; `wrap` may put another in the place of the packed one. */
async function quantize(
  model: Model,
  device: Device,
  bits: 4 | 8,
  wrap: (linear: Linear) => Linear,
): Promise<void> {
  const recipe = parseRecipe({ method: "rtn", bits });
  const castCounts = device.zeros("i32", [2]);
  using solver = await methods.rtn.prepare(undefined, recipe);
  for (let i = 0; i < model.shape.layers; i++) {
    const block = model.block(i);
    for (const name of block.stages.flatMap(({ linears }) => linears)) {
      const { weight, bias } = block.linear(name);
      const { groupIndex, ...result } = solver.quantize(ops.cast(weight!, "f32", castCounts));
      const { weight: stored, bias: kept } = encodeLinear({ ...result, groupIndex }, bias, {
        ...{ bits, dtype: recipe.dtype, groupSize: recipe.groupSize },
        ...{ checkpointFormat: "gptq", castCounts },
      });
      block.replace(name, wrap(gptqLinear(stored, kept, { groupIndex })));
    }
  }
}

async function logitsWith(bits: 4 | 8, wrap: (linear: Linear) => Linear, tokens: Int32Array) {
  using device = openDevice({ threads: 2 });
  using model = openModel(source, device);
  await quantize(model, device, bits, wrap);
  return {
    logits: await sequenceLogits(model, tokens),
    vocabulary: model.shape.vocabulary,
  };
}

test.each([4, 8] as const)(
  "KL against f32 activations is below 1e-6 per token, and not zero (%i bits)",
  async (bits) => {
    const text = readFileSync(repositoryPath("examples", "evaluation.txt"), "utf8");
    using tokenizer = openQwenTokenizer(source);
    const tokens = Int32Array.from(tokenizer.encode(text.slice(0, 3000)).slice(0, 256));
    const exact = await logitsWith(bits, plainLinear, tokens);
    const packed = await logitsWith(bits, (linear) => linear, tokens);
    using device = openDevice({ threads: 2 });
    const shape = [tokens.length, exact.vocabulary];
    const logProbabilities = (values: Float32Array<ArrayBuffer>) =>
      ops.logSoftmax(device.from("f32", values, shape));
    const divergence = await ops
      .klDivergence(logProbabilities(exact.logits), logProbabilities(packed.logits))
      .read();
    const mean = divergence.reduce((sum, value) => sum + value, 0) / tokens.length;
    console.info(`${bits} bits: KL ${mean.toExponential(2)} nats per token`);
    expect(Math.abs(mean)).toBeLessThan(1e-6);
    expect(packed.logits).not.toEqual(exact.logits);
  },
);

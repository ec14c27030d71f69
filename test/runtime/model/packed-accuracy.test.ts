// What the defaults of generating text cost, 16-bit activations, keys and values: the divergence of a quantized model from
// itself computed in f32.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { openDevice, ops } from "../../../kernels/index.ts";
import { parseRecipe } from "../../../quantizer/recipe.ts";
import {
  type CacheDtype,
  type Linear,
  openModel,
  openQwenTokenizer,
} from "../../../runtime/index.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { roundLinears } from "../../support/rounded-model.ts";
import { repositoryPath } from "../../support/shared.ts";

const source = repositoryPath("examples", "qwen-mini");

/** The same stored weight, multiplied in f32. */
function plainLinear(linear: Linear): Linear {
  const { stored, bias } = linear;
  const apply: Linear["apply"] = (x, { norm, residual } = {}) => {
    const input = norm === undefined ? x : ops.rmsNorm(x, norm.weight, norm.epsilon);
    const y = ops.linearGptq(input, stored!, bias);
    return residual === undefined ? y : ops.add(residual, y);
  };
  return { ...linear, apply, packed: () => undefined, [Symbol.dispose]() {} };
}

async function logitsWith(
  { bits, kvCache, wrap }: { bits: 4 | 8; kvCache: CacheDtype; wrap?: (linear: Linear) => Linear },
  tokens: Int32Array,
) {
  using device = openDevice({ threads: 2 });
  using model = openModel(source, device, { kvCache });
  await roundLinears(model, device, parseRecipe({ method: "rtn", bits }), wrap);
  return {
    logits: await sequenceLogits(model, tokens),
    vocabulary: model.shape.vocabulary,
  };
}

test.each([4, 8] as const)(
  "KL against f32 arithmetic is below 1e-6 per token, and not zero (%i bits)",
  async (bits) => {
    const text = readFileSync(repositoryPath("examples", "evaluation.txt"), "utf8");
    using tokenizer = openQwenTokenizer(source);
    const tokens = Int32Array.from(tokenizer.encode(text.slice(0, 3000)).slice(0, 256));
    const exact = await logitsWith({ bits, kvCache: "f32", wrap: plainLinear }, tokens);
    const packed = await logitsWith({ bits, kvCache: "f16" }, tokens);
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

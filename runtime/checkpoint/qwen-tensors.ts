// Names and shapes of the tensors of a Qwen v1 checkpoint, in the order of the official files.
// See modeling_qwen.py of Qwen/Qwen-7B.

import type { QwenConfig } from "./config.ts";

export type LinearShape = {
  /** Within its block, such as "attn.c_attn": also how quantization configs name it. */
  readonly part: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Whether the model defines a bias; a quantized file may carry one anyway. */
  readonly hasBias: boolean;
};

/** The linears of one block, in file order; weights are [outFeatures, inFeatures], biases [outFeatures]. */
export function qwenBlockLinears(config: QwenConfig): readonly LinearShape[] {
  const { hiddenSize, ffnSize, hasQkvBias, hasLinearBias } = config;
  const linear = (
    part: string,
    inFeatures: number,
    outFeatures: number,
    hasBias: boolean,
  ): LinearShape => ({ part, inFeatures, outFeatures, hasBias });
  return [
    linear("attn.c_attn", hiddenSize, 3 * hiddenSize, hasQkvBias),
    linear("attn.c_proj", hiddenSize, hiddenSize, hasLinearBias),
    linear("mlp.w1", hiddenSize, ffnSize, hasLinearBias),
    linear("mlp.w2", hiddenSize, ffnSize, hasLinearBias),
    linear("mlp.c_proj", ffnSize, hiddenSize, hasLinearBias),
  ];
}

/** The linears of all blocks, with their full names. */
export function qwenLinears(
  config: QwenConfig,
): readonly (LinearShape & { readonly name: string })[] {
  return Array.from({ length: config.layers }, (_, layer) => layer).flatMap((layer) =>
    qwenBlockLinears(config).map((linear) => ({
      ...linear,
      name: `transformer.h.${layer}.${linear.part}`,
    })),
  );
}

/** Number of parameters, computed from the shapes. */
export function qwenParameterCount(config: QwenConfig): number {
  let total = 0;
  for (const shape of qwenTensorShapes(config).values()) {
    total += shape.reduce((product, size) => product * size, 1);
  }
  return total;
}

/** Every tensor of the un-quantized model, 8 per block and 3 outside when only c_attn has a bias. */
export function qwenTensorShapes(config: QwenConfig): ReadonlyMap<string, readonly number[]> {
  const { hiddenSize, vocabSize, layers } = config;
  const shapes = new Map<string, readonly number[]>([
    ["transformer.wte.weight", [vocabSize, hiddenSize]],
  ]);
  const linears = qwenBlockLinears(config);
  for (let layer = 0; layer < layers; layer++) {
    const block = `transformer.h.${layer}`;
    shapes.set(`${block}.ln_1.weight`, [hiddenSize]);
    for (const { part, inFeatures, outFeatures, hasBias } of linears) {
      if (part === "mlp.w1") shapes.set(`${block}.ln_2.weight`, [hiddenSize]);
      shapes.set(`${block}.${part}.weight`, [outFeatures, inFeatures]);
      if (hasBias) shapes.set(`${block}.${part}.bias`, [outFeatures]);
    }
  }
  shapes.set("transformer.ln_f.weight", [hiddenSize]);
  shapes.set("lm_head.weight", [vocabSize, hiddenSize]);
  return shapes;
}

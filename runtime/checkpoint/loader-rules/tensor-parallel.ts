// How many GPUs a quantized Qwen v1 model can be split over by vLLM.

import { parseQwenConfig, type QwenConfig } from "../config.ts";
import type { QuantizationConfig } from "../quantization-config.ts";
import type { Checkpoint } from "../shards.ts";
import { type Subject, settingsOf } from "./subject.ts";

export type TensorParallelSize = {
  readonly size: number;
  /** Why not, undefined if it works. */
  readonly problem: string | undefined;
};

const sizes = [1, 2, 4, 8] as const;
/** GPTQ_MARLIN_MIN_THREAD_N and GPTQ_MARLIN_MIN_THREAD_K in marlin_utils.py */
const tile = { outputs: 64, inputs: 128 } as const;

/**
 * Which tensor-parallel sizes work: heads are dealt out whole, and a row-parallel linear (c_proj) keeps whole groups on
 * each GPU (vLLM #2699, QwenLM/Qwen #1035). None where the directory cannot be judged.
 */
export function tensorParallelSizes(subject: Subject): readonly TensorParallelSize[] {
  const { shape } = subject;
  const { group_size: groupSize, desc_act: descAct } = settingsOf(subject, "embedded");
  if (shape === undefined || typeof groupSize !== "number" || groupSize === 0) return [];
  return sizesFor(shape, { groupSize, descAct: descAct === true });
}

/** The same for a result that is not written yet. */
export function plannedTensorParallelSizes(
  { dir, config }: Pick<Checkpoint, "dir" | "config">,
  scheme: Scheme,
): readonly TensorParallelSize[] {
  return sizesFor(parseQwenConfig(config, `${dir}/config.json`), scheme);
}

type Scheme = Pick<QuantizationConfig, "groupSize" | "descAct">;

function sizesFor(
  shape: QwenConfig,
  { groupSize, descAct }: Scheme,
): readonly TensorParallelSize[] {
  return sizes.map((size) => ({
    size,
    problem:
      splitProblem(shape, groupSize, size) ??
      (descAct ? marlinProblem({ shape }, size) : undefined),
  }));
}

function splitProblem(shape: QwenConfig, groupSize: number, size: number): string | undefined {
  if (shape.heads % size !== 0) return `${shape.heads} heads do not split into ${size}`;
  const group = groupSize === -1 ? 1 : groupSize;
  const rows = { "attn.c_proj": shape.hiddenSize, "mlp.c_proj": shape.ffnSize };
  const broken = Object.entries(rows).find(([, inputs]) => inputs % (group * size) !== 0);
  if (broken === undefined) return undefined;
  const [part, inputs] = broken;
  const wanted = group === 1 ? "" : ` in whole groups of ${group}`;
  return `the ${inputs} inputs of ${part} do not split into ${size}${wanted}`;
}

/** @returns which linear does not fill whole Marlin tiles on each of `size` GPUs */
export function marlinProblem({ shape }: Pick<Subject, "shape">, size: number): string | undefined {
  if (shape === undefined) return undefined;
  const { hiddenSize, ffnSize } = shape;
  // As fused and split by models/qwen.py: c_attn and w2+w1 by columns, both c_proj by rows.
  const linears = [
    { part: "attn.c_attn", inputs: hiddenSize, outputs: (3 * hiddenSize) / size },
    { part: "attn.c_proj", inputs: hiddenSize / size, outputs: hiddenSize },
    { part: "mlp.w1 and mlp.w2", inputs: hiddenSize, outputs: (2 * ffnSize) / size },
    { part: "mlp.c_proj", inputs: ffnSize / size, outputs: hiddenSize },
  ];
  const odd = linears.find(
    ({ inputs, outputs }) => inputs % tile.inputs !== 0 || outputs % tile.outputs !== 0,
  );
  if (odd === undefined) return undefined;
  return `${odd.part} has ${odd.inputs} inputs and ${odd.outputs} outputs per GPU`;
}

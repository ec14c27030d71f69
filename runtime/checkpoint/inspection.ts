// What a model directory holds, from its headers and configs alone: no tensor data is read.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseQwenConfig, type QwenConfig } from "./config.ts";
import type { StoredDtype } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import { statPath } from "./file-access.ts";
import { quantizedCheckpointEntries } from "./gptq-layout.ts";
import { type QuantizationConfig, readQuantizationConfig } from "./quantization-config.ts";
import {
  qwenBlockLinears,
  qwenLinears,
  qwenParameterCount,
  qwenTensorShapes,
} from "./qwen-tensors.ts";
import { type Checkpoint, openCheckpoint } from "./shards.ts";
import type { TensorEntry } from "./tensor-file.ts";

export type DtypeUse = {
  readonly dtype: StoredDtype;
  readonly tensors: number;
  readonly bytes: number;
};

export type QuantizationSummary = QuantizationConfig & {
  /** Stored bits of codes, scales and zeros, per weight of the quantized linears. */
  readonly bitsPerWeight: number;
  readonly linears: number;
};

export type Inspection = {
  readonly dir: string;
  readonly architecture: string;
  readonly shape: QwenConfig;
  /** Of the model as it was before quantization. */
  readonly parameters: number;
  readonly dtypes: readonly DtypeUse[];
  /** Undefined for a float checkpoint. */
  readonly quantization: QuantizationSummary | undefined;
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  /** Name, shape and expected shape in one line. */
  readonly misshapen: readonly string[];
  readonly hasTokenizer: boolean;
  readonly hasGenerationConfig: boolean;
  /** In name order, folders and hidden files left out. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** In the order of the index or of the file's header. */
  readonly tensors: readonly TensorEntry[];
};

/**
 * Describes a model directory.
 *
 * @throws CheckpointError as `openCheckpoint`, `parseQwenConfig` and `readQuantizationConfig` do
 */
export function inspectCheckpoint(dir: string): Inspection {
  const checkpoint = openCheckpoint(dir);
  const shape = parseQwenConfig(checkpoint.config, join(checkpoint.dir, "config.json"));
  const quantization = readQuantizationConfig(checkpoint.dir, checkpoint.config);
  const files = listFiles(checkpoint.dir);
  const has = (name: string) => files.some((file) => file.name === name);
  return {
    dir: checkpoint.dir,
    architecture: "QWenLMHeadModel",
    shape,
    parameters: qwenParameterCount(shape),
    dtypes: dtypeUses(checkpoint),
    quantization: quantization && summarize(checkpoint, shape, quantization),
    ...compare(checkpoint, shape, quantization),
    hasTokenizer: has("qwen.tiktoken"),
    hasGenerationConfig: has("generation_config.json"),
    files,
    tensors: [...checkpoint.tensors.values()],
  };
}

function listFiles(dir: string): Inspection["files"] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch (cause) {
    throw new CheckpointError("CHECKPOINT_READ", `${dir}: cannot be listed`, { cause });
  }
  return names
    .filter((name) => !name.startsWith("."))
    .sort()
    .flatMap((name) => {
      const stats = statPath(join(dir, name));
      return stats?.isFile() === true ? [{ name, bytes: stats.size }] : [];
    });
}

function dtypeUses({ tensors }: Checkpoint): readonly DtypeUse[] {
  const uses = new Map<StoredDtype, DtypeUse>();
  for (const { dtype, begin, end } of tensors.values()) {
    const before = uses.get(dtype) ?? { dtype, tensors: 0, bytes: 0 };
    uses.set(dtype, { dtype, tensors: before.tensors + 1, bytes: before.bytes + end - begin });
  }
  return [...uses.values()].sort((a, b) => b.bytes - a.bytes);
}

const packedSuffix = /\.(qweight|qzeros|scales)$/;

function summarize(
  { tensors }: Checkpoint,
  shape: QwenConfig,
  quantization: QuantizationConfig,
): QuantizationSummary {
  let bytes = 0;
  let weights = 0;
  let linears = 0;
  for (const { name, begin, end } of tensors.values()) {
    if (packedSuffix.test(name)) bytes += end - begin;
    if (!name.endsWith(".qweight")) continue;
    linears++;
    const linear = qwenBlockLinears(shape).find(({ part }) => name.endsWith(`.${part}.qweight`));
    weights += linear === undefined ? 0 : linear.inFeatures * linear.outFeatures;
  }
  return { ...quantization, linears, bitsPerWeight: weights === 0 ? 0 : (8 * bytes) / weights };
}

function compare(
  { tensors }: Checkpoint,
  shape: QwenConfig,
  quantization: QuantizationConfig | undefined,
): Pick<Inspection, "missing" | "unexpected" | "misshapen"> {
  const required = expectedShapes(shape, quantization, "source");
  const allowed = expectedShapes(shape, quantization, "all");
  const misshapen: string[] = [];
  for (const [name, wanted] of allowed) {
    const got = tensors.get(name)?.shape;
    if (got !== undefined && got.join() !== wanted.join()) {
      misshapen.push(`${name} is [${got}], expected [${wanted}]`);
    }
  }
  return {
    // Without a group index, groups are consecutive.
    missing: [...required.keys()].filter((name) => !tensors.has(name) && !name.endsWith(".g_idx")),
    unexpected: [...tensors.keys()].filter((name) => !allowed.has(name)),
    misshapen,
  };
}

function expectedShapes(
  shape: QwenConfig,
  quantization: QuantizationConfig | undefined,
  bias: "all" | "source",
): ReadonlyMap<string, readonly number[]> {
  if (quantization === undefined) return qwenTensorShapes(shape);
  const parts = quantization.modulesInBlock?.flat();
  const linears = qwenLinears(shape).filter(({ part }) => parts?.includes(part) ?? true);
  const entries = quantizedCheckpointEntries(
    qwenTensorShapes(shape),
    new Map(linears.map((linear) => [linear.name, linear])),
    { ...quantization, floatDtype: "F16", zeroBias: bias === "all" },
  );
  return new Map(entries.map((entry) => [entry.name, entry.shape]));
}

// A directory as loaders see it, broken or not: what cannot be read is a finding, not an error.

import { basename, join, resolve } from "node:path";
import { parseQwenConfig, type QwenConfig } from "../config.ts";
import { CheckpointError } from "../errors.ts";
import { isJsonObject, type JsonObject, readJsonFile } from "../json.ts";
import { type LinearShape, qwenLinears } from "../qwen-tensors.ts";
import { listModelDirectory, openCheckpoint, readWeightFile } from "../shards.ts";
import type { TensorEntry } from "../tensor-file.ts";

export type StoredLinear = LinearShape & {
  /** Such as transformer.h.0.attn.c_attn. */
  readonly name: string;
};

export type Subject = {
  readonly dir: string;
  readonly files: readonly string[];
  /** Why config or weights cannot be read. */
  readonly problems: readonly string[];
  /** Why config.json describes no Qwen v1 model. */
  readonly configProblem: string | undefined;
  readonly config: JsonObject;
  readonly shape: QwenConfig | undefined;
  /** Every linear of every block; none where the shape is unknown. */
  readonly linears: readonly StoredLinear[];
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Names of the weight files with their `__metadata__`, which a PyTorch file has not. */
  readonly weightFiles: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** The shard index, where there is one. */
  readonly index: JsonObject | undefined;
  readonly settings: {
    /** quantization_config of config.json. */
    readonly embedded: JsonObject | undefined;
    /** quantize_config.json, or else quant_config.json. */
    readonly separate: JsonObject | undefined;
  };
};

/**
 * Reads everything the rules ask about, except tensor data.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND or CHECKPOINT_READ if the directory itself cannot be listed
 */
export function readSubject(dir: string): Subject {
  const absolute = resolve(dir);
  const files = listModelDirectory(absolute);
  const problems: string[] = [];
  const read = (name: string): JsonObject | undefined =>
    files.includes(name)
      ? noting(problems, () => readJsonFile(join(absolute, name), "CHECKPOINT_CONFIG"))
      : undefined;
  const config = read("config.json") ?? {};
  const embedded = config["quantization_config"];
  const indexName =
    files.find((name) => name.endsWith(".safetensors.index.json")) ??
    files.find((name) => name === "pytorch_model.bin.index.json");
  const shapeProblems: string[] = [];
  const shape = noting(shapeProblems, () => parseQwenConfig(config, join(absolute, "config.json")));
  return {
    dir: absolute,
    files,
    config,
    configProblem: shapeProblems[0],
    shape,
    linears: shape === undefined ? [] : qwenLinears(shape),
    ...readWeights(absolute, problems),
    index: indexName === undefined ? undefined : read(indexName),
    settings: {
      embedded: isJsonObject(embedded) ? embedded : undefined,
      separate: read("quantize_config.json") ?? read("quant_config.json"),
    },
    problems: [...new Set(problems)],
  };
}

/** A result that is not written yet: its config, and no files. Only rules about settings and extents can be judged. */
export function plannedSubject(dir: string, config: JsonObject): Subject {
  const shape = parseQwenConfig(config, join(dir, "config.json"));
  const quantization = config["quantization_config"];
  const settings = isJsonObject(quantization) ? quantization : undefined;
  return {
    ...{ dir, files: [], problems: [], configProblem: undefined, config, shape },
    ...{ linears: qwenLinears(shape), tensors: new Map(), weightFiles: new Map() },
    index: undefined,
    settings: { embedded: settings, separate: settings },
  };
}

/** The quantization settings a loader goes by: the separate file first, or only what config.json embeds. */
export function settingsOf({ settings }: Subject, from: "separate" | "embedded"): JsonObject {
  const { embedded = {}, separate } = settings;
  return from === "separate" ? (separate ?? embedded) : embedded;
}

function readWeights(dir: string, problems: string[]): Pick<Subject, "tensors" | "weightFiles"> {
  const checkpoint = noting(problems, () => openCheckpoint(dir));
  const weightFiles = new Map<string, ReadonlyMap<string, string>>();
  for (const path of checkpoint?.weightFiles ?? []) {
    weightFiles.set(basename(path), readWeightFile(path).metadata);
  }
  return { tensors: checkpoint?.tensors ?? new Map(), weightFiles };
}

function noting<Result>(problems: string[], action: () => Result): Result | undefined {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

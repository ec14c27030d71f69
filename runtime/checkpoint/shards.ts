// A model directory as one table of tensors, wherever their bytes lie.

import { readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { isPartial } from "./atomic-file.ts";
import type { StoredDtype } from "./dtype.ts";
import { CheckpointError, shown } from "./errors.ts";
import { statPath, unlistable } from "./file-access.ts";
import { isJsonObject, type JsonObject, readJsonFile } from "./json.ts";
import { readTorchFile } from "./pickle/torch-file.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import type { TensorEntry, TensorFile } from "./tensor-file.ts";

export type Checkpoint = {
  /** Absolute path. */
  readonly dir: string;
  /** config.json as it stands. */
  readonly config: JsonObject;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The `__metadata__` of all weight files; where they disagree, the first file's value. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Absolute paths, in file name order. */
  readonly weightFiles: readonly string[];
};

export type TensorExpectation = {
  readonly dtypes?: readonly StoredDtype[];
  readonly shape?: readonly number[];
};

type Weights = Pick<Checkpoint, "tensors" | "metadata" | "weightFiles">;

/** How weight files of one kind are named and read. */
type Format = { readonly suffix: string; readonly read: (path: string) => TensorFile };

const safetensors: Format = { suffix: ".safetensors", read: readSafetensorsHeader };
const torch: Format = { suffix: ".bin", read: readTorchFile };

/**
 * Opens a model directory: config.json and all tensor headers, no tensor data. With a shard index, the index alone
 * says which tensors there are. PyTorch files are read where there are no safetensors.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND if the directory, config.json or the weights are missing,
 *   CHECKPOINT_HEADER if index and shards disagree, and everything `readSafetensorsHeader` and `readTorchFile` throw
 */
export function openCheckpoint(dir: string): Checkpoint {
  const absolute = resolve(dir);
  const names = listModelDirectory(absolute);
  if (!names.includes("config.json")) {
    const problem = names.some(isPartial)
      ? "the run that writes this model has not finished; wait for it, or repeat its command"
      : "config.json is missing; this is not a model directory";
    throw new CheckpointError("CHECKPOINT_NOT_FOUND", `${absolute}: ${problem}`);
  }
  const config = readJsonFile(join(absolute, "config.json"), "CHECKPOINT_CONFIG");
  return { dir: absolute, config, ...openWeights(absolute, names) };
}

/** Reads one of a checkpoint's `weightFiles` again. */
export function readWeightFile(path: string): TensorFile {
  return (path.endsWith(torch.suffix) ? torch : safetensors).read(path);
}

/**
 * @throws CheckpointError CHECKPOINT_TENSOR if the tensor is missing or is not as expected
 */
export function requireTensor(
  checkpoint: Pick<Checkpoint, "dir" | "tensors">,
  name: string,
  expectation: TensorExpectation = {},
): TensorEntry {
  const entry = checkpoint.tensors.get(name);
  if (entry === undefined) {
    throw new CheckpointError(
      "CHECKPOINT_TENSOR",
      `${checkpoint.dir}: tensor ${shown(name)} is missing; config.json and the weights may belong to different models`,
    );
  }
  const { dtypes, shape } = expectation;
  if (dtypes !== undefined && !dtypes.includes(entry.dtype)) {
    throw new CheckpointError(
      "CHECKPOINT_TENSOR",
      `${entry.file}: tensor ${shown(name)} has dtype ${entry.dtype}; expected ${dtypes.join(" or ")}`,
    );
  }
  if (shape !== undefined && !sameShape(entry.shape, shape)) {
    throw new CheckpointError(
      "CHECKPOINT_TENSOR",
      `${entry.file}: tensor ${shown(name)} has shape ${shown(entry.shape)}; expected ${shown(shape)} from config.json`,
    );
  }
  return entry;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/**
 * Names in a model's directory, in order.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND if there is no such directory, CHECKPOINT_READ if it cannot be listed
 */
export function listModelDirectory(dir: string): readonly string[] {
  const stats = statPath(dir);
  if (stats === undefined || !stats.isDirectory()) {
    const got = stats === undefined ? "no such directory" : "this is not a directory";
    throw new CheckpointError(
      "CHECKPOINT_NOT_FOUND",
      `${dir}: ${got}; pass the directory that holds config.json and the weights`,
    );
  }
  try {
    return readdirSync(dir).sort();
  } catch (cause) {
    throw unlistable(dir, cause);
  }
}

/** The order in which loaders of Qwen and AutoGPTQ checkpoints look: current names first, old ones after. */
function openWeights(dir: string, names: readonly string[]): Weights {
  const current = openNamed(dir, names, { base: "model", format: safetensors });
  if (current !== undefined) return current;
  const index = onlyMatch(dir, names, /^gptq_model-.*\.safetensors\.index\.json$/);
  if (index !== undefined) return openIndexed(dir, index, safetensors);
  const single = onlyMatch(dir, names, /^gptq_model-.*\.safetensors$/);
  if (single !== undefined) return openSingle(dir, single, safetensors);
  const old =
    openNamed(dir, names, { base: "gptq", format: safetensors }) ??
    openNamed(dir, names, { base: "pytorch_model", format: torch });
  if (old !== undefined) return old;
  throw missingWeights(dir, names);
}

function openNamed(
  dir: string,
  names: readonly string[],
  { base, format }: { readonly base: string; readonly format: Format },
): Weights | undefined {
  const single = `${base}${format.suffix}`;
  const index = `${single}.index.json`;
  if (names.includes(index)) return openIndexed(dir, index, format);
  return names.includes(single) ? openSingle(dir, single, format) : undefined;
}

function onlyMatch(dir: string, names: readonly string[], pattern: RegExp): string | undefined {
  const matches = names.filter((name) => pattern.test(name));
  if (matches.length > 1) {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${dir}: several weight files could be meant (${matches.map(shown).join(", ")}); keep one, or rename it to model.safetensors`,
    );
  }
  return matches[0];
}

function openSingle(dir: string, name: string, { read }: Format): Weights {
  const file = read(join(dir, name));
  return { tensors: file.tensors, metadata: file.metadata, weightFiles: [file.path] };
}

function openIndexed(dir: string, indexName: string, format: Format): Weights {
  const indexPath = join(dir, indexName);
  const weightMap = readWeightMap(indexPath, format);
  const files = new Map<string, TensorFile>();
  for (const shard of [...new Set(weightMap.values())].sort()) {
    requireShard(dir, shard, indexPath);
    files.set(shard, format.read(join(dir, shard)));
  }
  const tensors = new Map<string, TensorEntry>();
  for (const [name, shard] of weightMap) {
    const entry = files.get(shard)?.tensors.get(name);
    if (entry === undefined) {
      throw new CheckpointError(
        "CHECKPOINT_HEADER",
        `${indexPath}: tensor ${shown(name)} should be in ${shown(shard)} but is not; index and shards belong to different models`,
      );
    }
    tensors.set(name, entry);
  }
  const metadata = new Map([...files.values()].reverse().flatMap((file) => [...file.metadata]));
  return { tensors, metadata, weightFiles: [...files.values()].map((file) => file.path) };
}

function readWeightMap(indexPath: string, { suffix }: Format): ReadonlyMap<string, string> {
  const { weight_map: weightMap } = readJsonFile(indexPath, "CHECKPOINT_HEADER");
  if (!isJsonObject(weightMap) || Object.keys(weightMap).length === 0) {
    throw new CheckpointError(
      "CHECKPOINT_HEADER",
      `${indexPath}: weight_map must be an object that names at least one tensor, got ${shown(weightMap)}`,
    );
  }
  const map = new Map<string, string>();
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string" || !isPlainFileName(shard, suffix)) {
      throw new CheckpointError(
        "CHECKPOINT_HEADER",
        `${indexPath}: weight_map[${shown(name)}] must be a *${suffix} file name in the same directory, got ${shown(shard)}`,
      );
    }
    map.set(name, shard);
  }
  return map;
}

/** An index may not make us read outside the model directory. Links are followed: the Hugging Face cache is made of them. */
function isPlainFileName(name: string, suffix: string): boolean {
  const isPlain = basename(name) === name && /^[^/\\\0]+$/.test(name);
  return isPlain && name.endsWith(suffix) && name !== suffix;
}

function requireShard(dir: string, shard: string, indexPath: string): void {
  if (statPath(join(dir, shard)) !== undefined) return;
  throw new CheckpointError(
    "CHECKPOINT_NOT_FOUND",
    `${indexPath}: shard ${shown(shard)} does not exist; download it into ${dir}`,
  );
}

function missingWeights(dir: string, names: readonly string[]): CheckpointError {
  const shard = names.find((name) => /^(pytorch_)?model-\d+-of-\d+\.(safetensors|bin)$/.test(name));
  if (shard !== undefined) {
    const index = shard.replace(/-\d+-of-\d+(\.\w+)$/, "$1.index.json");
    return new CheckpointError(
      "CHECKPOINT_NOT_FOUND",
      `${dir}: there are shards (${shown(shard)}) but no ${index}; download the index too`,
    );
  }
  const other = names.find((name) =>
    /^(?!training_args|optimizer|scheduler).*\.(bin|pt|pth|ckpt)$/.test(name),
  );
  if (other !== undefined) {
    return new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${dir}: no weights under a known name, but there is ${shown(other)}; if it is a state dict of torch.save, rename it to pytorch_model.bin`,
    );
  }
  const partial = names.find(isPartial);
  const hint = partial === undefined ? "" : `; ${shown(partial)} is left from an interrupted run`;
  return new CheckpointError(
    "CHECKPOINT_NOT_FOUND",
    `${dir}: no weights; expected model.safetensors or pytorch_model.bin, or an index (*.index.json) with its shards${hint}`,
  );
}

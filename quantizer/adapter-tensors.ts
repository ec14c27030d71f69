// Which tensor of an adapter file does what to which tensor of the model. Nothing is left over or missing: what PEFT
// would pass over with a warning is an error here, since the result would be another model than the one trained.
import { shown, type TensorEntry } from "../runtime/index.ts";
import { type AdapterConfig, isNamed } from "./adapter-config.ts";
import { QuantizeError, type QuantizeErrorCode } from "./errors.ts";

/** A low-rank change of one weight: W + scale · B·A. */
export type LoraPair = {
  /** [rank, in] */
  readonly a: TensorEntry;
  /** [out, rank] */
  readonly b: TensorEntry;
  readonly rank: number;
  readonly scale: number;
};

export type AdapterTensors = {
  /** By the full name of the weight. */
  readonly pairs: ReadonlyMap<string, LoraPair>;
  /** Tensors trained as a whole, by the full name of the one they replace. */
  readonly replacements: ReadonlyMap<string, TensorEntry>;
};

type Shapes = ReadonlyMap<string, readonly number[]>;
type Found = {
  /** The lora_A and lora_B of modules. */
  readonly a: Map<string, TensorEntry>;
  readonly b: Map<string, TensorEntry>;
  readonly replacements: Map<string, TensorEntry>;
};

const prefix = "base_model.model.";

const foreign: Readonly<Record<string, string>> = {
  lora_embedding_: "LoRA of an embedding is not supported; train it whole (modules_to_save)",
  lora_magnitude_vector: "it belongs to DoRA, which cannot be merged as W + s·B·A",
};

/**
 * Assigns every tensor of an adapter.
 *
 * @param entries  of the adapter file
 * @param shapes   of the model's tensors
 * @throws QuantizeError QUANTIZE_ADAPTER or QUANTIZE_ADAPTER_KIND naming the tensor that is unknown, missing or of
 *   another shape, or the module that lacks its tensors
 */
export function assignTensors(
  entries: ReadonlyMap<string, TensorEntry>,
  shapes: Shapes,
  config: AdapterConfig,
): AdapterTensors {
  const found: Found = { a: new Map(), b: new Map(), replacements: new Map() };
  for (const entry of entries.values()) assign(entry, shapes, found);
  const pairs = new Map<string, LoraPair>();
  for (const [module, entry] of [...found.a, ...found.b]) {
    const a = found.a.get(module);
    const b = found.b.get(module);
    if (a === undefined || b === undefined) {
      throw error(entry, `has no ${a === undefined ? "lora_A" : "lora_B"} beside it`);
    }
    pairs.set(`${module}.weight`, pairOf(module, { a, b }, shapes, config));
  }
  const tensors = { pairs, replacements: found.replacements };
  requireConsistent(tensors, config);
  return tensors;
}

/** @throws QuantizeError QUANTIZE_ADAPTER naming a module that was trained but is not in the file */
export function requireComplete(
  tensors: AdapterTensors,
  against: { readonly shapes: Shapes; readonly config: AdapterConfig; readonly file: string },
): void {
  const { shapes, config, file } = against;
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_ADAPTER", `${file}: ${problem}`);
  };
  if (tensors.pairs.size + tensors.replacements.size === 0) refuse("holds no tensor");
  for (const saved of config.savedModules) {
    const owned = [...shapes.keys()].filter((name) => isNamed(ownerOf(name), [saved]));
    const lost = owned.length === 0 ? saved : owned.find((name) => !tensors.replacements.has(name));
    if (lost === undefined) continue;
    refuse(
      `${shown(lost)} is missing, though modules_to_save has ${shown(saved)}. Qwen's finetune.py leaves such tensors ` +
        "out of its last save: use its last checkpoint-* directory, or remove the name from modules_to_save to merge " +
        "without them",
    );
  }
  const absent = [...shapes.keys()].find((name) => isMissing(name, tensors, against));
  if (absent === undefined) return;
  refuse(
    absent.endsWith(".bias")
      ? `${absent} is missing, though bias is "${config.bias}"; save the adapter again`
      : `lora_A and lora_B of ${ownerOf(absent)} are missing, though target_modules names it; save the adapter again`,
  );
}

/** Whether a tensor of the model was trained, but the adapter has nothing for it. */
function isMissing(
  name: string,
  { pairs, replacements }: AdapterTensors,
  { shapes, config }: { readonly shapes: Shapes; readonly config: AdapterConfig },
): boolean {
  const owner = ownerOf(name);
  if (replacements.has(name) || pairs.has(name)) return false;
  if (name.endsWith(".bias")) {
    return config.bias === "all" || (config.bias === "lora_only" && pairs.has(`${owner}.weight`));
  }
  const isMatrix = shapes.get(name)?.length === 2;
  return isMatrix && config.isTarget(owner) === true;
}

function assign(entry: TensorEntry, shapes: Shapes, found: Found): void {
  const { name } = entry;
  if (!["F32", "F16", "BF16"].includes(entry.dtype)) {
    throw error(entry, `has dtype ${entry.dtype}; expected F32, F16 or BF16`);
  }
  const kind = Object.keys(foreign).find((part) => name.includes(part));
  if (kind !== undefined) throw error(entry, foreign[kind] ?? "", "QUANTIZE_ADAPTER_KIND");
  const path = name.startsWith(prefix) ? name.slice(prefix.length) : "";
  const [, module, half] = /^(.+)\.lora_([AB])(?:\.default)?\.weight$/.exec(path) ?? [];
  // Older releases of PEFT keep the names of their wrappers.
  const whole = path.replace(
    /\.(?:modules_to_save\.default|base_layer)\.(?=(?:weight|bias)$)/,
    ".",
  );
  if (module !== undefined && shapes.has(`${module}.weight`)) {
    put(half === "A" ? found.a : found.b, module, entry);
  } else if (shapes.has(whole)) {
    requireShape(entry, shapes.get(whole) ?? []);
    put(found.replacements, whole, entry);
  } else {
    throw error(entry, "belongs to no tensor of this model; is the adapter for another model?");
  }
}

function put(tensors: Map<string, TensorEntry>, key: string, entry: TensorEntry): void {
  const earlier = tensors.get(key);
  if (earlier !== undefined) throw error(entry, `and ${shown(earlier.name)} mean the same tensor`);
  tensors.set(key, entry);
}

function pairOf(
  module: string,
  { a, b }: Pick<LoraPair, "a" | "b">,
  shapes: Shapes,
  config: AdapterConfig,
): LoraPair {
  const [outFeatures = 0, inFeatures = 0, ...more] = shapes.get(`${module}.weight`) ?? [];
  if (inFeatures === 0 || more.length > 0) throw error(a, "adapts what is no linear");
  const rank = config.rank(module);
  requireShape(a, [rank, inFeatures]);
  requireShape(b, [outFeatures, rank]);
  return { a, b, rank, scale: config.scale(module) };
}

function requireConsistent(tensors: AdapterTensors, config: AdapterConfig): void {
  const { pairs, replacements } = tensors;
  for (const [name, { a }] of pairs) {
    if (config.isTarget(ownerOf(name)) === false) {
      throw error(a, "adapts a module that target_modules and layers_to_transform leave out");
    }
    const whole = replacements.get(name);
    if (whole !== undefined) throw error(a, `adapts a weight that ${shown(whole.name)} replaces`);
  }
}

function requireShape(entry: TensorEntry, shape: readonly number[]): void {
  if (entry.shape.length === shape.length && entry.shape.every((size, i) => size === shape[i])) {
    return;
  }
  throw error(
    entry,
    `has shape ${shown(entry.shape)}; expected ${shown(shape)} from adapter_config.json and the model`,
  );
}

/** The module of a tensor. */
function ownerOf(name: string): string {
  return name.replace(/\.(?:weight|bias)$/, "");
}

function error(
  entry: TensorEntry,
  problem: string,
  code: QuantizeErrorCode = "QUANTIZE_ADAPTER",
): QuantizeError {
  return new QuantizeError(code, `${entry.file}: tensor ${shown(entry.name)} ${problem}`);
}

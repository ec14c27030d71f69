// The output directory: everything a user needs of the result, under final names only when it is complete.
import { readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import type { I32, Tensor } from "../kernels/index.ts";
import { ops } from "../kernels/index.ts";
import {
  type CheckpointWriter,
  createCheckpointWriter,
  type JsonObject,
  type Linear,
  type Model,
  planShards,
  type QuantizationConfig,
  quantizationConfigJson,
  quantizedCheckpointEntries,
  quantizedConfigJson,
  type TensorSpec,
  totalTensorBytes,
  writeFileAtomic,
} from "../runtime/index.ts";
import { mayGoAway } from "./errors.ts";
import { type Fingerprint, hasInterruptedRun, Journal, type JournalEntry } from "./journal.ts";
import { OutputDirectory } from "./output-directory.ts";
import { bytesOf, copySmallFiles, publish, rowParts } from "./publish.ts";
import type { Recipe } from "./recipe.ts";
import type { ConversionReport, LinearReport, QuantizationReport } from "./report.ts";
import { reportMarkdown } from "./report-markdown.ts";
import { quantizedLinears } from "./schemes.ts";

/** Extents of the linears of a model by their full names, such as transformer.h.0.attn.c_attn. */
export type LinearExtents = ReadonlyMap<string, Pick<Linear, "inFeatures" | "outFeatures">>;

/**
 * Every tensor of the quantized checkpoint, in the source's order.
 *
 * @throws CheckpointError CHECKPOINT_UNSUPPORTED naming a linear whose extents do not suit the group size; RecipeError
 *   RECIPE_OPTION naming a rule that changes nothing
 */
export function quantizedEntries(
  shapes: ReadonlyMap<string, readonly number[]>,
  linears: LinearExtents,
  recipe: Recipe,
): readonly TensorSpec[] {
  const { bits, groupSize, zeroBias } = recipe;
  const quantized = quantizedLinears(linears, recipe);
  const floatDtype = recipe.dtype === "f16" ? "F16" : "BF16";
  return quantizedCheckpointEntries(shapes, quantized, { bits, groupSize, floatDtype, zeroBias });
}

/** config.json and quantize_config.json of a result. */
export function resultConfigs(
  source: JsonObject,
  result: {
    readonly recipe: Recipe;
    readonly declared: QuantizationConfig;
    readonly version: string;
  },
): { readonly config: JsonObject; readonly quantization: JsonObject } {
  const { recipe, declared, version } = result;
  const bias = recipe.zeroBias ? "all" : "source";
  const quantization = quantizationConfigJson(declared, { version, bias });
  const dtype = recipe.dtype === "f16" ? "float16" : "bfloat16";
  return { config: quantizedConfigJson(source, quantization, dtype), quantization };
}

/** Bits of packed weights, scales and zeros per weight of the quantized linears. */
export function bitsPerWeight(entries: readonly TensorSpec[], linears: LinearExtents): number {
  const bytes = { I32: 4, F16: 2, BF16: 2 } as Readonly<Record<string, number>>;
  const packed = entries
    .filter(({ name }) => /\.(qweight|qzeros|scales)$/.test(name))
    .reduce((sum, { dtype, shape }) => sum + shape.reduce((a, b) => a * b, bytes[dtype] ?? 0), 0);
  let weights = 0;
  const names = new Set(entries.map(({ name }) => name));
  for (const [name, { inFeatures, outFeatures }] of linears) {
    if (names.has(`${name}.qweight`)) weights += inFeatures * outFeatures;
  }
  return (8 * packed) / weights;
}

export type OutputOptions = {
  readonly recipe: Recipe;
  /** Whether a directory that is not empty may be used. */
  readonly overwrite: boolean;
  /** What to do about an interrupted run that waits there; "refuse" also keeps no journal of this one. */
  readonly onExisting: "resume" | "restart" | "refuse";
  readonly fingerprint: Fingerprint;
  /** What the result says of itself. */
  readonly declared: QuantizationConfig;
};

/** Where a result is going; refuses what would lose something. */
export class Output implements Disposable {
  readonly dir: string;
  readonly tensorBytes: number;
  readonly conversions: ConversionReport[] = [];
  readonly #writer: CheckpointWriter;
  readonly #planned: ReadonlySet<string>;
  readonly #files: ReadonlySet<string>;
  readonly #directory: OutputDirectory;
  readonly #journal: Journal | undefined;
  readonly #declared: QuantizationConfig;
  #committed = 0;
  #isSuspended = false;
  #finished = false;

  /**
   * @throws QuantizeError QUANTIZE_OUTPUT if the directory is the source, inside it, not empty or not writable;
   *   QUANTIZE_IN_USE if another run writes there; QUANTIZE_RESUME if another run was interrupted there
   */
  constructor(dir: string, source: string, entries: readonly TensorSpec[], options: OutputOptions) {
    this.dir = resolve(dir);
    this.#declared = options.declared;
    const plan = planShards(entries, options.recipe.maxShardBytes);
    this.#planned = new Set(entries.map(({ name }) => name));
    this.#files = new Set(plan.map(({ file }) => file));
    this.tensorBytes = totalTensorBytes(plan);
    this.#directory = new OutputDirectory(this.dir, source);
    try {
      this.#journal = this.#openJournal(options);
      const resume = this.#journal !== undefined && !this.#journal.isEmpty;
      this.#writer = createCheckpointWriter(this.dir, plan, new Map(), { resume });
    } catch (error) {
      if (this.#journal?.isEmpty) this.#journal.remove();
      else this.#journal?.[Symbol.dispose]();
      this.#directory[Symbol.dispose]();
      throw error;
    }
  }

  // A new journal goes first: a directory with partial files and without one would belong to nobody.
  #openJournal({ overwrite, onExisting, fingerprint }: OutputOptions): Journal | undefined {
    const isWaiting = hasInterruptedRun(this.dir);
    const resumed =
      isWaiting && onExisting === "resume" ? Journal.resume(this.dir, fingerprint) : undefined;
    this.#directory.prepare({
      mayBeFull: overwrite || (isWaiting && onExisting !== "refuse"),
      keepsPartials: resumed !== undefined,
    });
    if (resumed !== undefined || onExisting === "refuse") return resumed;
    return Journal.start(this.dir, fingerprint);
  }

  /** Pieces of work that an interrupted run had completed. */
  get resumed(): number {
    return this.#journal?.resumed ?? 0;
  }

  /** What an interrupted run recorded of a piece of work; its tensors then count as written. */
  recall(done: string, tensors: (name: string) => boolean): JournalEntry | undefined {
    const entry = this.#journal?.entry(done);
    if (entry === undefined) return undefined;
    for (const name of this.#planned) if (tensors(name)) this.#writer.accept(name);
    this.conversions.push(...entry.conversions);
    this.#committed = this.conversions.length;
    return entry;
  }

  /** Records a piece of work as done: an interrupted run goes on after it. */
  commit(done: string, linears: readonly LinearReport[]): void {
    if (this.#journal === undefined) return;
    this.#writer.sync();
    const conversions = this.conversions.slice(this.#committed);
    this.#committed = this.conversions.length;
    this.#journal.append({ done, linears, conversions });
  }

  /** The bytes of a tensor that was written; undefined for one that is not part of the checkpoint. */
  readBack(name: string): Uint8Array<ArrayBuffer> | undefined {
    return this.#planned.has(name) ? this.#writer.read(name) : undefined;
  }

  /** Keeps what is done for a later run, instead of removing it. */
  suspend(): void {
    this.#isSuspended = this.#journal !== undefined && !this.#journal.isEmpty;
  }

  /** Writes a tensor if it is part of the checkpoint; one that is not (a left-out bias) is ignored. */
  async write(name: string, tensor: Tensor): Promise<void> {
    if (!this.#planned.has(name)) return;
    const values = await tensor.read();
    this.#writer.write(name, bytesOf(values));
  }

  /** Writes a tensor of the source as the recipe's dtype, in parts, and notes what did not survive that. */
  async writeConverted(model: Model, name: string, dtype: Recipe["dtype"]): Promise<void> {
    using tensor = model.tensor(name);
    using counts = model.device.zeros("i32", [2]);
    for (const view of rowParts(tensor)) {
      using part = view;
      using converted = ops.cast(part, dtype, counts);
      this.#writer.append(name, bytesOf(await converted.read()));
    }
    model.evict(name);
    await this.noteConversion(name, counts);
  }

  /** @param counts  [2], see ops.cast */
  async noteConversion(name: string, counts: I32): Promise<void> {
    const [overflowed = 0, flushed = 0] = await counts.read();
    if (overflowed + flushed > 0) this.conversions.push({ name, overflowed, flushed });
  }

  /**
   * Makes the result visible, whole or not at all.
   *
   * @param linearTable  the report's linears, from `linearsArrow`
   */
  finish(
    model: Model,
    report: Omit<QuantizationReport, "files">,
    linearTable: Uint8Array,
  ): QuantizationReport {
    try {
      const complete = publish(this.#writer, this.dir, () => {
        this.#removeOldWeights();
        return this.#writeSmallFiles(model, report, linearTable);
      });
      this.#finished = true;
      this.#journal?.remove();
      return complete;
    } catch (error) {
      // Hours of work are not lost for want of room for a config.
      if (mayGoAway(error)) this.suspend();
      throw error;
    }
  }

  #writeSmallFiles(
    model: Model,
    report: Omit<QuantizationReport, "files">,
    linearTable: Uint8Array,
  ): QuantizationReport {
    const { recipe } = report;
    const files = copySmallFiles(model.checkpoint.dir, this.dir);
    const { config, quantization } = resultConfigs(model.checkpoint.config, {
      ...{ recipe, declared: this.#declared, version: report.nibble },
    });
    const complete: QuantizationReport = { ...report, files };
    const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
    writeFileAtomic(join(this.dir, "config.json"), json(config));
    writeFileAtomic(join(this.dir, "quantize_config.json"), json(quantization));
    writeFileAtomic(join(this.dir, "report.json"), json(complete));
    writeFileAtomic(join(this.dir, "report.arrow"), linearTable);
    writeFileAtomic(join(this.dir, "report.md"), reportMarkdown(complete));
    return complete;
  }

  // Shards of an earlier result under other names would be found beside the new ones.
  #removeOldWeights(): void {
    for (const file of readdirSync(this.dir)) {
      const isWeights = /^model.*\.safetensors(\.index\.json)?$/.test(file);
      if (isWeights && !this.#files.has(file)) rmSync(join(this.dir, file));
    }
  }

  [Symbol.dispose](): void {
    if (this.#isSuspended && !this.#finished) {
      this.#writer.suspend();
      this.#journal?.[Symbol.dispose]();
    } else {
      this.#writer[Symbol.dispose]();
      this.#journal?.remove();
    }
    this.#directory[Symbol.dispose]();
  }
}

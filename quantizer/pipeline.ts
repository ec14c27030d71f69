// The walk over a model: block by block, stage by stage, each linear calibrated on what quantized predecessors give it.
import { type Device, type F32, type FloatTensor, type GptqWeight, ops } from "../kernels/index.ts";
import {
  type Block,
  encodeLinear,
  gptqLinear,
  type Linear,
  type Model,
  openModel,
} from "../runtime/index.ts";
import { openAdapter } from "./adapter.ts";
import { CalibratedBlocks } from "./calibrated-blocks.ts";
import { QuantizeError } from "./errors.ts";
import { type Hessian, HessianSum } from "./hessian.ts";
import { type MethodResult, methods, type Solver } from "./methods/index.ts";
import { bitsPerWeight, type LinearExtents, Output, quantizedEntries } from "./output.ts";
import type { QuantizeProgress } from "./progress.ts";
import { quantizationOf, type Recipe } from "./recipe.ts";
import type { LinearReport, QuantizationReport } from "./report.ts";

export type QuantizeOptions = {
  /** Directory of the float model. */
  readonly source: string;
  /** Directory of a LoRA adapter to merge into the weights. */
  readonly adapter?: string | undefined;
  /** Directory for the result; must be empty or absent unless `overwrite`. */
  readonly output: string;
  /** Calibration tokens, never padded. */
  readonly segments: readonly Int32Array[];
  readonly recipe: Recipe;
  readonly device: Device;
  /** Of this program, for the result's metadata. */
  readonly version: string;
  readonly overwrite?: boolean;
  readonly signal?: AbortSignal | undefined;
  onProgress?(progress: QuantizeProgress): void;
};

/**
 * Quantizes a model and writes the result.
 *
 * @throws QuantizeError, RecipeError, CheckpointError, KernelError; the signal's reason when aborted. Nothing is then left
 *   under a final name.
 */
export async function quantizeModel(options: QuantizeOptions): Promise<QuantizationReport> {
  const started = performance.now();
  const { recipe, device, segments } = options;
  using overlay =
    options.adapter === undefined
      ? undefined
      : await openAdapter(options.adapter, options.source, device);
  using model = openModel(options.source, device, { overlay });
  checkSource(model, segments, recipe);
  const linears = linearExtents(options.source, device);
  const entries = quantizedEntries(model.tensorShapes(), linears, recipe);
  using output = new Output(options.output, options.source, entries, {
    recipe,
    overwrite: options.overwrite ?? false,
  });
  const run = new Run(options, model, output);
  await run.writeOthers(linears);
  const reports = await run.quantizeBlocks();
  const tokens = segments.reduce((sum, ids) => sum + ids.length, 0);
  return output.finish(model, recipe, {
    nibble: options.version,
    source: options.source,
    ...(options.adapter === undefined ? {} : { adapter: options.adapter }),
    recipe,
    calibration: { segments: segments.length, tokens },
    linears: reports,
    conversions: output.conversions,
    bitsPerWeight: bitsPerWeight(entries, linears),
    tensorBytes: output.tensorBytes,
    seconds: (performance.now() - started) / 1000,
  });
}

function checkSource(model: Model, segments: readonly Int32Array[], recipe: Recipe): void {
  const { dir } = model.checkpoint;
  const refuse = (problem: string): never => {
    throw new QuantizeError("QUANTIZE_SOURCE", `${dir}: ${problem}`);
  };
  if (model.quantization !== undefined) {
    refuse("is quantized already; give the float model it was made from");
  }
  const tokens = segments.reduce((sum, ids) => sum + ids.length, 0);
  if (tokens === 0 && methods[recipe.method].needsHessian) {
    refuse(`${recipe.method} needs calibration data; not one token was given`);
  }
  for (const segment of segments) {
    const id = segment.find((token) => token < 0 || token >= model.shape.vocabulary);
    if (id !== undefined) {
      refuse(
        `calibration token ${id} is outside the vocabulary of ${model.shape.vocabulary}; ` +
          "was the data tokenized for another model?",
      );
    }
  }
}

/** Read without an adapter: extents need no merged weights. */
function linearExtents(source: string, device: Device): LinearExtents {
  using model = openModel(source, device);
  const extents = new Map<string, Linear>();
  for (let i = 0; i < model.shape.layers; i++) {
    using block = model.loadBlock(i);
    for (const name of block.stages.flatMap(({ linears }) => linears)) {
      extents.set(`${block.name}.${name}`, block.linear(name));
    }
  }
  return extents;
}

/** One run's state, so that its steps read as steps. */
class Run {
  readonly #options: QuantizeOptions;
  readonly #model: Model;
  readonly #output: Output;
  readonly #reports: LinearReport[] = [];

  constructor(options: QuantizeOptions, model: Model, output: Output) {
    this.#options = options;
    this.#model = model;
    this.#output = output;
  }

  async writeOthers(linears: LinearExtents): Promise<void> {
    const isLinear = (name: string) => linears.has(name.replace(/\.(weight|bias)$/, ""));
    for (const name of this.#model.tensorShapes().keys()) {
      if (isLinear(name)) continue;
      this.#progress(name, 0);
      using tensor = this.#model.tensor(name);
      await requireFinite(tensor, name);
      await this.#output.writeConverted(this.#model, name, this.#options.recipe.dtype);
    }
  }

  async quantizeBlocks(): Promise<readonly LinearReport[]> {
    const { segments } = this.#options;
    const { layers } = this.#model.shape;
    using calibrated = new CalibratedBlocks(this.#model, segments);
    for (let i = 0; i < layers; i++) {
      using block = this.#model.loadBlock(i);
      calibrated.begin(block);
      for (const [stage, { linears }] of block.stages.entries()) {
        this.#progress(
          `${block.name} ${linears.join(", ")}`,
          (i + stage / block.stages.length) / layers,
        );
        await this.#quantizeStage(block, linears, calibrated);
        calibrated.advance(block, stage);
      }
      this.#model.evict(`${block.name}.`);
      await this.#model.device.sync();
    }
    return this.#reports;
  }

  async #quantizeStage(
    block: Block,
    linears: readonly string[],
    calibrated: CalibratedBlocks,
  ): Promise<void> {
    const { device } = this.#model;
    const [first = ""] = linears;
    const { inFeatures } = block.linear(first);
    const started = performance.now();
    using sum = new HessianSum(device, inFeatures);
    let seen = false;
    for (const x of calibrated.inputs()) {
      this.#options.signal?.throwIfAborted();
      sum.add(x);
      seen = true;
    }
    const layer = `${block.name} ${linears.join(", ")}`;
    using hessian = seen ? await sum.finish(layer) : undefined;
    const { recipe } = this.#options;
    using solver = await methods[recipe.method].prepare(hessian, recipe, inFeatures);
    const shared = (performance.now() - started) / 1000 / linears.length;
    for (const name of linears) {
      this.#options.signal?.throwIfAborted();
      await this.#quantizeLinear(block, name, { solver, hessian, shared });
    }
  }

  async #quantizeLinear(
    block: Block,
    name: string,
    stage: {
      readonly solver: Solver;
      readonly hessian: Hessian | undefined;
      /** Seconds of the stage's common work that fall to this linear. */
      readonly shared: number;
    },
  ): Promise<void> {
    const started = performance.now();
    const { hessian } = stage;
    const fullName = `${block.name}.${name}`;
    const linear = block.linear(name);
    using original = await this.#floatWeight(linear, fullName);
    if (hessian !== undefined) ops.zeroColumns(original, hessian.diagonal);
    const result = stage.solver.quantize(ops.copy(original));
    const { packed, weight } = await this.#store(fullName, result, linear);
    using quantized = ops.dequantize(weight);
    const errors = hessian && (await measure(original, quantized, hessian));
    block.replace(name, packed);
    this.#reports.push({
      name: fullName,
      method: result.method,
      inFeatures: linear.inFeatures,
      outFeatures: linear.outFeatures,
      tokens: hessian?.tokens ?? 0,
      loss: errors?.loss,
      relativeError: errors?.relativeError,
      damping: result.damping,
      deadInputs: hessian?.deadInputs ?? 0,
      seconds: stage.shared + (performance.now() - started) / 1000,
      fallback: result.fallback,
    });
  }

  async #floatWeight(linear: Linear, name: string): Promise<F32> {
    const { weight } = linear;
    if (weight === undefined) {
      throw new QuantizeError("QUANTIZE_SOURCE", `${name} has no float weight to quantize`);
    }
    await requireFinite(weight, `${name}.weight`);
    if (linear.bias !== undefined) await requireFinite(linear.bias, `${name}.bias`);
    using counts = weight.device.zeros("i32", [2]);
    return ops.cast(weight, "f32", counts);
  }

  /** Packs and writes a result; returns the linear that computes with it. */
  async #store(
    name: string,
    result: MethodResult,
    linear: Linear,
  ): Promise<{ packed: Linear; weight: GptqWeight }> {
    const { recipe, device } = this.#options;
    const { bits, groupSize, dtype } = recipe;
    const { checkpointFormat } = quantizationOf(recipe);
    using castCounts = device.zeros("i32", [2]);
    const encoded = encodeLinear(result, linear.bias, {
      ...{ bits, checkpointFormat, dtype, castCounts },
      groupSize: groupSize === -1 ? linear.inFeatures : groupSize,
    });
    for (const tensor of [result.codes, result.scales, result.zeros]) tensor[Symbol.dispose]();
    await this.#checkScales(name, encoded.weight.scales);
    for (const { suffix, tensor } of encoded.tensors) {
      await this.#output.write(`${name}.${suffix}`, tensor);
    }
    await this.#output.noteConversion(`${name}.bias`, castCounts);
    return { packed: gptqLinear(encoded.weight, encoded.bias), weight: encoded.weight };
  }

  async #checkScales(name: string, scales: GptqWeight["scales"]): Promise<void> {
    using bad = ops.countNonFinite(scales);
    const [count = 0] = await bad.read();
    if (count === 0) return;
    throw new QuantizeError(
      "QUANTIZE_OVERFLOW",
      `${name}: ${count} scales exceed what ${this.#options.recipe.dtype} can hold; use --dtype bf16`,
    );
  }

  #progress(label: string, fraction: number): void {
    this.#options.onProgress?.({ label, fraction });
  }
}

async function requireFinite(tensor: FloatTensor, name: string): Promise<void> {
  const [rows = 1, ...rest] = tensor.shape;
  using matrix = tensor.reshape([rows, rest.reduce((product, extent) => product * extent, 1)]);
  using bad = ops.countNonFinite(matrix);
  const [count = 0] = await bad.read();
  if (count === 0) return;
  throw new QuantizeError(
    "QUANTIZE_NOT_FINITE",
    `${name} holds ${count} values that are NaN or infinite; the source is broken`,
  );
}

async function measure(
  original: F32,
  quantized: F32,
  hessian: Hessian,
): Promise<{ loss: number; relativeError: number }> {
  using lost = ops.quadraticForm(original, quantized, hessian.matrix);
  using whole = ops.quadraticForm(original, undefined, hessian.matrix);
  const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
  const loss = sum(await lost.read());
  const output = sum(await whole.read());
  return { loss, relativeError: output > 0 ? loss / output : 0 };
}

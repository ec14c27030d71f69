// The walk over a model: block by block, stage by stage, each linear calibrated on what quantized predecessors give it.
import { type F32, type GptqWeight, ops } from "../kernels/index.ts";
import {
  type Block,
  encodeLinear,
  gptqLinear,
  type Linear,
  type Model,
  walkBlocks,
} from "../runtime/index.ts";
import { mayGoAway, QuantizeError } from "./errors.ts";
import type { Hessian } from "./hessian.ts";
import { measure, requireFinite } from "./measure.ts";
import { type MethodResult, methods, type Solver } from "./methods/index.ts";
import type { LinearExtents, Output } from "./output.ts";
import type { PhaseTimes } from "./phases.ts";
import type { QuantizeOptions } from "./pipeline.ts";
import { quantizationOf } from "./recipe.ts";
import type { LinearReport } from "./report.ts";
import { restoreLinear } from "./restore.ts";
import { type LinearScheme, schemeOf } from "./schemes.ts";
import { LiveStatistics, type StageStatistics } from "./stage-statistics.ts";
import { openStatistics } from "./statistics-file.ts";

/** One run's state, so that its steps read as steps. */
export class Run {
  readonly #options: QuantizeOptions;
  readonly #model: Model;
  readonly #output: Output;
  readonly #phases: PhaseTimes;
  readonly #budgetBytes: number | undefined;
  readonly #reports: LinearReport[] = [];
  /** The most hidden states that were on the disk. */
  spilledBytes = 0;

  constructor(
    options: QuantizeOptions,
    parts: {
      readonly model: Model;
      readonly output: Output;
      readonly phases: PhaseTimes;
      readonly budgetBytes: number | undefined;
    },
  ) {
    this.#options = options;
    this.#model = parts.model;
    this.#output = parts.output;
    this.#phases = parts.phases;
    this.#budgetBytes = parts.budgetBytes;
  }

  /** Does what is left to do; what is done is kept if the cause of a failure may go away. */
  async complete(linears: LinearExtents): Promise<readonly LinearReport[]> {
    try {
      await this.#phases.time("convert", () => this.#writeOthers(linears));
      return await this.#quantizeBlocks();
    } catch (error) {
      if (mayGoAway(error)) this.#output.suspend();
      throw error;
    }
  }

  async #writeOthers(linears: LinearExtents): Promise<void> {
    const isLinear = (name: string) => linears.has(name.replace(/\.(weight|bias)$/, ""));
    for (const name of this.#model.tensorShapes().keys()) {
      if (isLinear(name)) continue;
      if (this.#output.recall(name, (tensor) => tensor === name)) continue;
      this.#options.signal?.throwIfAborted();
      this.#progress(name, 0);
      using tensor = this.#model.tensor(name);
      await requireFinite(tensor, name);
      await this.#output.writeConverted(this.#model, name, this.#options.recipe.dtype);
      this.#output.commit(name, []);
    }
  }

  async #quantizeBlocks(): Promise<readonly LinearReport[]> {
    const { layers } = this.#model.shape;
    await using statistics = await this.#openStatistics();
    // The embedding's pages: no block needs them.
    this.#model.evict("");
    for (const [i, block] of walkBlocks(this.#model)) {
      await statistics.begin(block);
      const recalled = this.#output.recall(block.name, (name) => belongsTo(name, block));
      const before = this.#reports.length;
      for (const [stage, { linears }] of block.stages.entries()) {
        this.#progress(
          `${block.name} ${linears.join(", ")}`,
          (i + stage / block.stages.length) / layers,
        );
        if (recalled) this.#restoreStage(block, linears);
        else await this.#quantizeStage(block, stage, statistics);
        await statistics.advance(block, stage);
      }
      if (recalled) this.#reports.push(...recalled.linears);
      else this.#output.commit(block.name, this.#reports.slice(before));
      this.#model.evict(`${block.name}.`);
      await this.#model.device.sync();
    }
    this.spilledBytes = statistics.spilledBytes;
    return this.#reports;
  }

  async #openStatistics(): Promise<StageStatistics> {
    const { segments, masks, recipe, signal, statistics } = this.#options;
    if (statistics !== undefined) return openStatistics(statistics, this.#model, this.#phases);
    const memory = { budgetBytes: this.#budgetBytes, directory: this.#output.dir };
    return await LiveStatistics.open(
      this.#model,
      recipe,
      { segments, masks, signal, ...memory },
      this.#phases,
    );
  }

  #restoreStage(block: Block, linears: readonly string[]): void {
    for (const name of linears) {
      const linear = block.linear(name);
      const fullName = `${block.name}.${name}`;
      const { recipe, device } = this.#options;
      const scheme = schemeOf(recipe, fullName);
      if (scheme === undefined) continue;
      block.replace(
        name,
        restoreLinear(this.#output, fullName, linear, { recipe, scheme, device }),
      );
    }
  }

  async #quantizeStage(block: Block, stage: number, statistics: StageStatistics): Promise<void> {
    const { recipe } = this.#options;
    const { linears: all = [] } = block.stages[stage] ?? {};
    const isSkipped = (name: string) => schemeOf(recipe, `${block.name}.${name}`) === undefined;
    for (const name of all.filter(isSkipped)) {
      await this.#phases.time("convert", () => this.#keepFloat(block, name));
    }
    const linears = all.filter((name) => !isSkipped(name));
    if (linears.length === 0) return;
    const started = performance.now();
    using hessian = await statistics.hessian(block, stage);
    using solver = await this.#phases.time("solve", () =>
      methods[recipe.method].prepare(hessian, recipe),
    );
    const shared = (performance.now() - started) / 1000 / linears.length;
    for (const name of linears) {
      this.#options.signal?.throwIfAborted();
      await this.#phases.time("solve", () =>
        this.#quantizeLinear(block, name, { solver, hessian, shared }),
      );
    }
  }

  /** Writes a linear's tensors as they are; the block goes on with it. */
  async #keepFloat(block: Block, name: string): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const { weight, bias } = block.linear(name);
    for (const [kind, tensor] of [
      ["weight", weight],
      ["bias", bias],
    ] as const) {
      const fullName = `${block.name}.${name}.${kind}`;
      if (tensor === undefined || !this.#model.tensorShapes().has(fullName)) continue;
      await requireFinite(tensor, fullName);
      await this.#output.writeConverted(this.#model, fullName, this.#options.recipe.dtype);
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
    // A solver spreads errors through the Hessian, which knows nothing of these inputs: their weights go.
    if (hessian !== undefined && methods[this.#options.recipe.method].needsHessian) {
      ops.zeroColumns(original, hessian.diagonal);
    }
    const scheme = schemeOf(this.#options.recipe, fullName);
    if (scheme === undefined) throw new RangeError(`${fullName} is to stay float`);
    const result = stage.solver.quantize(ops.copy(original), scheme);
    const { packed, weight } = await this.#store(fullName, result, { linear, scheme });
    using quantized = ops.dequantize(weight);
    const errors = hessian && (await measure(original, quantized, hessian, result));
    result.spread?.[Symbol.dispose]();
    result.target?.[Symbol.dispose]();
    block.replace(name, packed);
    this.#reports.push({
      name: fullName,
      method: result.method,
      inFeatures: linear.inFeatures,
      outFeatures: linear.outFeatures,
      ...scheme,
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
    { linear, scheme }: { readonly linear: Linear; readonly scheme: LinearScheme },
  ): Promise<{ packed: Linear; weight: GptqWeight }> {
    const { recipe, device } = this.#options;
    const { dtype } = recipe;
    const { bits, groupSize } = scheme;
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
    const { groupIndex } = result;
    const packed = gptqLinear(encoded.weight, encoded.bias, { groupIndex });
    return { packed, weight: encoded.weight };
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

/** Whether a tensor is part of one of a block's linears. */
function belongsTo(tensor: string, block: Block): boolean {
  const names = block.stages.flatMap(({ linears }) => linears);
  return names.some((name) => tensor.startsWith(`${block.name}.${name}.`));
}

// Where a run's Hessians come from: the model on calibration tokens, or a file (statistics-file.ts).
import type { ActivationOptions } from "../calibration/index.ts";
import { type Block, type Model, walkBlocks } from "../runtime/index.ts";
import { CalibratedBlocks } from "./calibrated-blocks.ts";
import { type Hessian, HessianSum } from "./hessian.ts";
import type { PhaseTimes } from "./phases.ts";
import type { Recipe } from "./recipe.ts";

/** Walks through a model's blocks with the run that asks it. */
export interface StageStatistics extends AsyncDisposable {
  /** The most hidden states that were on the disk, in bytes. */
  readonly spilledBytes: number;
  /** To be called with one block after another, from the first. */
  begin(block: Block): Promise<void>;
  /**
   * Of the inputs of a stage's linears; undefined if no token counts.
   *
   * @throws QuantizeError QUANTIZE_NOT_FINITE
   */
  hessian(block: Block, stage: number): Promise<Hessian | undefined>;
  /** After a stage's linears have been replaced. */
  advance(block: Block, stage: number): Promise<void>;
}

export type CalibrationData = ActivationOptions & {
  readonly segments: readonly Int32Array[];
  readonly masks?: readonly (Uint8Array | undefined)[] | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** Of the model as its linears are replaced, and of the float model beside it where a recipe looks at that. */
export class LiveStatistics implements StageStatistics {
  readonly #model: Model;
  readonly #recipe: Pick<Recipe, "hessianDtype" | "gptaq">;
  readonly #signal: AbortSignal | undefined;
  readonly #phases: PhaseTimes;
  readonly #calibrated: CalibratedBlocks;
  readonly #originals: CalibratedBlocks | undefined;
  readonly #originalBlocks: ReturnType<typeof walkBlocks> | undefined;
  #original: Block | undefined;

  private constructor(
    model: Model,
    recipe: Pick<Recipe, "hessianDtype" | "gptaq">,
    parts: {
      readonly phases: PhaseTimes;
      readonly signal: AbortSignal | undefined;
      readonly calibrated: CalibratedBlocks;
      readonly originals: CalibratedBlocks | undefined;
    },
  ) {
    this.#model = model;
    this.#recipe = recipe;
    this.#phases = parts.phases;
    this.#signal = parts.signal;
    this.#calibrated = parts.calibrated;
    this.#originals = parts.originals;
    this.#originalBlocks = parts.originals && walkBlocks(model);
  }

  /** Embeds the tokens. */
  static async open(
    model: Model,
    recipe: Pick<Recipe, "hessianDtype" | "gptaq">,
    { signal, budgetBytes, ...data }: CalibrationData,
    phases: PhaseTimes,
  ): Promise<LiveStatistics> {
    const streams = recipe.gptaq > 0 ? 2 : 1;
    const budget = budgetBytes === undefined ? undefined : budgetBytes / streams;
    return await phases.time("forward", async () => {
      const open = () => CalibratedBlocks.open(model, { ...data, budgetBytes: budget });
      const calibrated = await open();
      const originals = streams === 2 ? await open() : undefined;
      return new LiveStatistics(model, recipe, { phases, signal, calibrated, originals });
    });
  }

  get spilledBytes(): number {
    return this.#calibrated.spilledBytes + (this.#originals?.spilledBytes ?? 0);
  }

  async begin(block: Block): Promise<void> {
    const entered = this.#originalBlocks?.next();
    this.#original = entered?.done === false ? entered.value[1] : undefined;
    await this.#forward(async () => {
      await this.#calibrated.begin(block);
      if (this.#original !== undefined) await this.#originals?.begin(this.#original);
    });
  }

  async hessian(block: Block, stage: number): Promise<Hessian | undefined> {
    const { linears = [], addsToResidual = false } = block.stages[stage] ?? {};
    const [first = ""] = linears;
    const { hessianDtype: dtype, gptaq } = this.#recipe;
    const residualWidth = addsToResidual ? this.#model.shape.width : undefined;
    return await this.#phases.time("hessian", async () => {
      const options = { dtype, gptaq, residualWidth };
      using sum = new HessianSum(this.#model.device, block.linear(first).inFeatures, options);
      const originals = this.#originals?.inputs();
      for await (const rows of this.#calibrated.inputs()) {
        this.#signal?.throwIfAborted();
        const original = await originals?.next();
        sum.add(rows, original?.done === false ? original.value : undefined);
      }
      // So that the last batch is given back.
      await originals?.next();
      return await sum.finish(`${block.name} ${linears.join(", ")}`);
    });
  }

  async advance(block: Block, stage: number): Promise<void> {
    await this.#forward(async () => {
      await this.#calibrated.advance(block, stage);
      if (this.#original !== undefined) await this.#originals?.advance(this.#original, stage);
    });
  }

  /** Waits for the device, so that the time goes where it belongs. */
  async #forward(action: () => Promise<void>): Promise<void> {
    await this.#phases.time("forward", async () => {
      await action();
      await this.#model.device.sync();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#originalBlocks?.return();
    await this.#calibrated[Symbol.asyncDispose]();
    await this.#originals?.[Symbol.asyncDispose]();
  }
}

// Hessians kept in a file: the model runs over calibration data once, and is then quantized in as many ways as one likes.
// A safetensors file with, for each stage of each block, `NAME.hessian` F32 [in · (in + 1) / 2], the upper triangle of
// Σ xxᵀ / tokens by rows, NAME being the stage's first linear. All of it is of the float model: no stage sees what quantized
// predecessors give it; LOG.md has what that costs.
import { createHash } from "node:crypto";
import type { Device } from "../kernels/index.ts";
import {
  type Block,
  CheckpointError,
  type Model,
  openModel,
  peekBlock,
  readSafetensorsHeader,
  readTensorBytes,
  type TensorFile,
  type TensorSpec,
  walkBlocks,
  writeTensorFile,
} from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";
import { Hessian } from "./hessian.ts";
import { countedTokens } from "./memory.ts";
import { PhaseTimes } from "./phases.ts";
import type { QuantizeProgress } from "./progress.ts";
import type { Recipe } from "./recipe.ts";
import { LiveStatistics, type StageStatistics } from "./stage-statistics.ts";

const format = "nibble-statistics-1";

function stageKey(block: string, linears: readonly string[]): string {
  return `${block}.${linears[0] ?? ""}.hessian`;
}

function packedSize(n: number): number {
  return (n * (n + 1)) / 2;
}

const sampledBytes = 4096;

/** Of the ends of every tensor: another fine-tuning of the same model has other activations. */
function digestOf(model: Model): string {
  const hash = createHash("sha256");
  for (const entry of [...model.checkpoint.tensors.values()].sort((x, y) =>
    x.name < y.name ? -1 : 1,
  )) {
    const { name, shape, begin, end } = entry;
    hash.update(`${name} ${shape.join(" ")} `);
    hash.update(readTensorBytes({ ...entry, end: Math.min(end, begin + sampledBytes) }));
    hash.update(readTensorBytes({ ...entry, begin: Math.max(begin, end - sampledBytes) }));
  }
  return hash.digest("hex");
}

function entriesOf(model: Model): readonly TensorSpec[] {
  return Array.from({ length: model.shape.layers }, (_, i) => {
    using block = peekBlock(model, i);
    return block.stages.map(({ linears }) => {
      const { inFeatures } = block.linear(linears[0] ?? "");
      const name = stageKey(block.name, linears);
      return { name, dtype: "F32" as const, shape: [packedSize(inFeatures)] };
    });
  }).flat();
}

export type StatisticsOptions = {
  /** Directory of the float model. */
  readonly source: string;
  /** The file to write. */
  readonly output: string;
  readonly segments: readonly Int32Array[];
  readonly masks?: readonly (Uint8Array | undefined)[] | undefined;
  readonly device: Device;
  readonly hessianDtype?: Recipe["hessianDtype"];
  readonly signal?: AbortSignal | undefined;
  onProgress?(progress: QuantizeProgress): void;
};

export type CollectedStatistics = {
  readonly tokens: number;
  readonly fileBytes: number;
  readonly seconds: number;
};

/**
 * Runs the float model over calibration data once and keeps the Hessian of every stage.
 *
 * @throws QuantizeError, CheckpointError, KernelError; the signal's reason when aborted. No file is then left.
 */
export async function collectStatistics(options: StatisticsOptions): Promise<CollectedStatistics> {
  const started = performance.now();
  const { segments, masks, signal, hessianDtype = "bf16" } = options;
  using model = openModel(options.source, options.device);
  const entries = entriesOf(model);
  const data = { segments, masks, signal, budgetBytes: undefined, directory: "." };
  const recipe = { hessianDtype, gptaq: 0 };
  await using statistics = await LiveStatistics.open(model, recipe, data, new PhaseTimes());
  const tokens = countedTokens(options);
  if (tokens === 0) throw sourceError(options.output, "no calibration token counts");
  const metadata = new Map([
    ["format", format],
    ["weights", digestOf(model)],
    ["tokens", `${tokens}`],
  ]);
  const { layers } = model.shape;
  const fileBytes = await writeTensorFile(options.output, entries, metadata, async (put) => {
    for (const [i, block] of walkBlocks(model)) {
      await statistics.begin(block);
      for (const [stage, { linears }] of block.stages.entries()) {
        signal?.throwIfAborted();
        const fraction = (i + stage / block.stages.length) / layers;
        options.onProgress?.({ label: `${block.name} ${linears.join(", ")}`, fraction });
        using hessian = await statistics.hessian(block, stage);
        if (hessian !== undefined) put(stageKey(block.name, linears), await packed(hessian));
        await statistics.advance(block, stage);
      }
      model.evict(`${block.name}.`);
    }
  });
  return { tokens, fileBytes, seconds: (performance.now() - started) / 1000 };
}

/** The upper triangle by rows, with zeros on the diagonal for inputs that no token reached. */
async function packed({ matrix, diagonalValues }: Hessian): Promise<Uint8Array> {
  const values = await matrix.read();
  const n = diagonalValues.length;
  const triangle = new Float32Array(packedSize(n));
  let at = 0;
  for (let i = 0; i < n; i++) {
    triangle.set(values.subarray(i * n + i, (i + 1) * n), at);
    triangle[at] = diagonalValues[i] ?? 0;
    at += n - i;
  }
  return new Uint8Array(triangle.buffer);
}

/**
 * Says what is wrong with a file of statistics for a model, before anything is written.
 *
 * @throws QuantizeError QUANTIZE_SOURCE, or CheckpointError, if the file is not one of these or of another model
 */
export function checkStatistics(path: string, model: Model): TensorFile {
  const file = readSafetensorsHeader(path);
  if (file.metadata.get("format") !== format) {
    throw sourceError(path, "not a file that `nibble calibrate --statistics` writes");
  }
  if (file.metadata.get("weights") !== digestOf(model)) {
    const { dir } = model.checkpoint;
    throw sourceError(path, `made for other weights than those of ${dir}; calibrate that model`);
  }
  return file;
}

/** The Hessians of a file, for a run over its model. @throws as `checkStatistics` */
export function openStatistics(path: string, model: Model, phases: PhaseTimes): StageStatistics {
  const file = checkStatistics(path, model);
  const tokens = Number(file.metadata.get("tokens"));
  if (!Number.isSafeInteger(tokens) || tokens < 1) {
    throw sourceError(path, "does not say on how many tokens it was made");
  }
  return new StoredStatistics(file, model.device, tokens, phases);
}

function sourceError(path: string, problem: string): QuantizeError {
  return new QuantizeError("QUANTIZE_SOURCE", `${path}: ${problem}`);
}

class StoredStatistics implements StageStatistics {
  readonly spilledBytes = 0;
  readonly #file: TensorFile;
  readonly #device: Device;
  readonly #tokens: number;
  readonly #phases: PhaseTimes;

  constructor(file: TensorFile, device: Device, tokens: number, phases: PhaseTimes) {
    this.#file = file;
    this.#device = device;
    this.#tokens = tokens;
    this.#phases = phases;
  }

  async begin(): Promise<void> {}

  async advance(): Promise<void> {}

  async hessian(block: Block, stage: number): Promise<Hessian> {
    const { linears = [] } = block.stages[stage] ?? {};
    const n = block.linear(linears[0] ?? "").inFeatures;
    return await this.#phases.time("hessian", async () =>
      this.#read(stageKey(block.name, linears), n),
    );
  }

  #read(name: string, n: number): Hessian {
    const entry = this.#file.tensors.get(name);
    const size = packedSize(n);
    if (entry?.dtype !== "F32" || entry.shape.join() !== `${size}`) {
      const found = entry === undefined ? "is missing" : `is ${entry.dtype} [${entry.shape}]`;
      throw new CheckpointError(
        "CHECKPOINT_TENSOR",
        `${this.#file.path}: ${name} ${found}; expected F32 [${size}]`,
      );
    }
    const triangle = new Float32Array(readTensorBytes(entry).buffer);
    const { matrix, diagonal } = mirrored(triangle, n);
    const bad = matrix.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw sourceError(this.#file.path, `${name} holds a value that is not finite`);
    return new Hessian({
      matrix: this.#device.from("f32", matrix, [n, n]),
      diagonal: this.#device.from("f32", diagonal),
      ...{ diagonalValues: diagonal, tokens: this.#tokens },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** As `Hessian` has them: with ones in the matrix for inputs that no token reached. */
function mirrored(triangle: Float32Array, n: number) {
  const matrix = new Float32Array(n * n);
  const diagonal = new Float32Array(n);
  let at = 0;
  for (let i = 0; i < n; i++) {
    diagonal[i] = triangle[at] ?? 0;
    for (let j = i; j < n; j++) {
      const value = triangle[at++] ?? 0;
      matrix[i * n + j] = value;
      matrix[j * n + i] = value;
    }
    if (diagonal[i] === 0) matrix[i * (n + 1)] = 1;
  }
  return { matrix, diagonal };
}

// Checkpoints made for tests by quantizing the bundled model, or another.
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { readDocuments, sampleSegments } from "../../calibration/index.ts";
import {
  parseRecipe,
  type QuantizationReport,
  type QuantizeOptions,
  quantizeModel,
  type Recipe,
} from "../../quantizer/index.ts";
import { openQwenTokenizer } from "../../runtime/index.ts";
import { fromBf16, toBf16 } from "../support/kernels.ts";
import { integers, seeded } from "../support/random.ts";
import { repositoryPath } from "../support/shared.ts";
import { safetensors, tinyQwenTensors, writeTinyQwen } from "../support/tiny-checkpoint.ts";

export const qwenMini: string = repositoryPath("examples/qwen-mini");

const { documents } = await readDocuments(repositoryPath("examples/calibration.jsonl"));

/** Segments of the bundled calibration texts; a few are enough for tests that do not judge quality. */
export function bundledSegments(count: number, length: number): readonly Int32Array[] {
  using tokenizer = openQwenTokenizer(qwenMini);
  return sampleSegments(documents, tokenizer, { count, length, seed: 1 }).ids;
}

export type QuantizeTestOptions = Omit<QuantizeOptions, "recipe" | "source" | "version"> & {
  /** The bundled model by default */
  readonly source?: string;
  readonly recipe?: Partial<Recipe>;
};

/** quantizeModel with the default recipe but for the given fields. */
export function quantize(options: QuantizeTestOptions): Promise<QuantizationReport> {
  return quantizeModel({
    source: qwenMini,
    version: "0.0.0-test",
    ...options,
    recipe: parseRecipe(options.recipe ?? {}),
  });
}

/** The first two blocks of the bundled model: every operation at its real extents, in a quarter of the time. */
export function writeTwoBlocks(dir: string): void {
  mkdirSync(dir);
  for (const file of readdirSync(qwenMini)) {
    if (file.endsWith(".safetensors")) symlinkSync(join(qwenMini, file), join(dir, file));
    else copyFileSync(join(qwenMini, file), join(dir, file));
  }
  const config = JSON.parse(readFileSync(join(qwenMini, "config.json"), "utf8"));
  writeFileSync(join(dir, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 2 }));
}

/** Changes to the values of a tensor, by its name. */
export type TensorEdits = Readonly<Record<string, (values: Float32Array<ArrayBuffer>) => void>>;

/** A made-up model of 2 blocks, width 64 and 128 tokens; its group sizes are 32 and −1. */
export function writeTinyModel(dir: string, edits: TensorEdits = {}): string {
  writeTinyQwen(dir);
  const tensors = tinyQwenTensors();
  const names = tensors.map(({ name }) => name);
  for (const name of Object.keys(edits)) {
    if (!names.includes(name)) throw new Error(`the tiny model has no tensor ${name}`);
  }
  const edited = tensors.map((tensor) => {
    const edit = edits[tensor.name];
    if (edit === undefined) return tensor;
    const values = fromBf16(new Uint16Array(tensor.bytes.slice().buffer));
    edit(values);
    return { ...tensor, bytes: new Uint8Array(toBf16(values).buffer) };
  });
  writeFileSync(join(dir, "model.safetensors"), safetensors(edited));
  return dir;
}

/** Calibration tokens for the tiny model. */
export function tinySegments(count: number, length: number): readonly Int32Array[] {
  const random = seeded(5);
  return Array.from({ length: count }, () => integers(length, 128, random));
}

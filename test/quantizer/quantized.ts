// Checkpoints made for tests by quantizing the bundled model, or another.
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
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
import { repositoryPath } from "../support/shared.ts";

export const qwenMini: string = repositoryPath("examples/qwen-mini");

/** Segments of the bundled calibration texts; a few are enough for tests that do not judge quality. */
export function bundledSegments(count: number, length: number): readonly Int32Array[] {
  using tokenizer = openQwenTokenizer(qwenMini);
  const documents = readDocuments(repositoryPath("examples/calibration.jsonl"));
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
  for (const file of ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]) {
    symlinkSync(join(qwenMini, file), join(dir, file));
  }
  copyFileSync(
    join(qwenMini, "model.safetensors.index.json"),
    join(dir, "model.safetensors.index.json"),
  );
  const config = JSON.parse(readFileSync(join(qwenMini, "config.json"), "utf8"));
  writeFileSync(join(dir, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 2 }));
}

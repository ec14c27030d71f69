// Checkpoints made for tests by quantizing the bundled model, or another.
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

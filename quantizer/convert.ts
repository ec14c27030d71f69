// A checkpoint written anew without quantizing: zeros in the other format, floats in the place of packed weights, other
// shards, safetensors in the place of pickles, current file names.
import { join, resolve } from "node:path";
import type { Device } from "../kernels/index.ts";
import {
  type CheckpointWriter,
  createCheckpointWriter,
  floatConfigJson,
  type Model,
  openModel,
  planShards,
  type QuantizationConfig,
  requireReadableCompanions,
  rewrittenConfigsJson,
  totalTensorBytes,
  unusedTensors,
  writeFileAtomic,
} from "../runtime/index.ts";
import { type ConvertedTensor, copiedTensors, floatTensors } from "./converted-tensors.ts";
import { QuantizeError } from "./errors.ts";
import { OutputDirectory } from "./output-directory.ts";
import type { QuantizeProgress } from "./progress.ts";
import { type CopiedFiles, copySmallFiles, publish } from "./publish.ts";
import type { ConversionReport } from "./report.ts";

export const floatDtypes = ["bf16", "f16", "f32"] as const;

/** What is to become of the tensors. */
export type ConversionTarget =
  /** Every tensor as it is. */
  | { readonly to: "same" }
  /** Zeros of a quantized model as this format stores them; every other tensor as it is. */
  | { readonly to: "format"; readonly format: QuantizationConfig["checkpointFormat"] }
  /** The float model that a quantized one stands for. */
  | { readonly to: "dequantized"; readonly dtype: (typeof floatDtypes)[number] }
  /** A float model in another dtype. */
  | { readonly to: "cast"; readonly dtype: (typeof floatDtypes)[number] };

export type ConvertOptions = {
  /** Directory of the model. */
  readonly source: string;
  /** Directory for the result; must be empty or absent. */
  readonly output: string;
  readonly target: ConversionTarget;
  readonly maxShardBytes: number;
  readonly device: Device;
  readonly signal?: AbortSignal | undefined;
  onProgress?(progress: QuantizeProgress): void;
};

/** What a conversion did. */
export type ConvertReport = {
  readonly source: string;
  readonly target: ConversionTarget;
  /** The source's checkpoint format; undefined for a float model. */
  readonly sourceFormat: QuantizationConfig["checkpointFormat"] | undefined;
  readonly tensors: number;
  /** Bytes of all tensors of the checkpoint. */
  readonly tensorBytes: number;
  /** Biases of zeros that the float model does not have, left out. */
  readonly droppedBiases: readonly string[];
  /** Other tensors of the source that are left out, since the model makes no use of them. */
  readonly unused: readonly string[];
  /** Values that the new dtype could not hold. */
  readonly conversions: readonly ConversionReport[];
  readonly seconds: number;
  readonly files: CopiedFiles;
};

/**
 * Converts a checkpoint tensor by tensor, with no more memory than one of them takes.
 *
 * @throws QuantizeError QUANTIZE_SOURCE naming a tensor that the target cannot express, QUANTIZE_NOT_FINITE,
 *   QUANTIZE_OUTPUT; CheckpointError, KernelError; the signal's reason when aborted. Nothing is then left under a final name.
 */
export async function convertModel(options: ConvertOptions): Promise<ConvertReport> {
  const started = performance.now();
  const { source, device, target, signal, onProgress } = options;
  using model = openModel(source, device);
  checkTarget(model, target);
  requireReadableCompanions(model.checkpoint.dir);
  const conversions: ConversionReport[] = [];
  const { tensors, droppedBiases } = await convertedTensors(model, target, conversions);
  const plan = planShards(
    tensors.map(({ spec }) => spec),
    options.maxShardBytes,
  );
  const output = resolve(options.output);
  using directory = new OutputDirectory(output, source);
  directory.prepare({ mayBeFull: undefined, keepsPartials: false });
  // Metadata may repeat the format, as some tools write it.
  const metadata = target.to === "same" ? model.checkpoint.metadata : new Map<string, string>();
  using writer = createCheckpointWriter(output, plan, metadata);
  for (const [i, { spec, parts }] of tensors.entries()) {
    signal?.throwIfAborted();
    onProgress?.({ label: spec.name, fraction: i / tensors.length });
    for await (const part of parts()) writer.append(spec.name, part);
    model.evict(spec.name);
  }
  const files = finish(model, writer, output, target);
  const written = new Set(tensors.map(({ spec }) => spec.name));
  return {
    ...{ source, target, sourceFormat: model.quantization?.checkpointFormat },
    tensors: tensors.length,
    tensorBytes: totalTensorBytes(plan),
    droppedBiases,
    unused: unusedTensors(model).filter((name) => !written.has(name)),
    conversions,
    seconds: (performance.now() - started) / 1000,
    files,
  };
}

function checkTarget(model: Model, { to }: ConversionTarget): void {
  const isQuantized = model.quantization !== undefined;
  const { dir } = model.checkpoint;
  if ((to === "format" || to === "dequantized") && !isQuantized) {
    throw new QuantizeError("QUANTIZE_SOURCE", `${dir}: is not quantized; expected a GPTQ model`);
  }
  if (to === "cast" && isQuantized) {
    const advice = "only a float model can change its dtype; dequantize this one";
    throw new QuantizeError("QUANTIZE_SOURCE", `${dir}: is quantized; ${advice} (--dequantize)`);
  }
}

async function convertedTensors(
  model: Model,
  target: ConversionTarget,
  conversions: ConversionReport[],
): Promise<{ tensors: readonly ConvertedTensor[]; droppedBiases: readonly string[] }> {
  switch (target.to) {
    case "same":
      return { tensors: copiedTensors(model, undefined), droppedBiases: [] };
    case "format":
      return { tensors: copiedTensors(model, target.format), droppedBiases: [] };
    case "dequantized":
    case "cast":
      return await floatTensors(model, target.dtype, (report) => conversions.push(report));
    default:
      return target satisfies never;
  }
}

/** They describe the packed weights. */
const quantizationReports = new Set(["report.json", "report.arrow", "report.md"]);
const configDtypes = { bf16: "bfloat16", f16: "float16", f32: "float32" } as const;

function finish(
  model: Model,
  writer: CheckpointWriter,
  dir: string,
  target: ConversionTarget,
): ConvertReport["files"] {
  const { checkpoint, quantization } = model;
  const write = (name: string, value: object) =>
    writeFileAtomic(join(dir, name), `${JSON.stringify(value, undefined, 2)}\n`);
  return publish(writer, dir, () => {
    const floatDtype = "dtype" in target ? target.dtype : undefined;
    const leftOut = floatDtype === undefined ? undefined : quantizationReports;
    const files = copySmallFiles(checkpoint.dir, dir, leftOut);
    if (floatDtype !== undefined) {
      write("config.json", floatConfigJson(checkpoint.config, configDtypes[floatDtype]));
    } else if (quantization === undefined) {
      write("config.json", checkpoint.config);
    } else {
      const format = target.to === "format" ? target.format : quantization.checkpointFormat;
      const configs = rewrittenConfigsJson(checkpoint, format);
      write("config.json", configs.config);
      write("quantize_config.json", configs.quantization);
    }
    return files;
  });
}

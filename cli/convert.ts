import { type Command, Option } from "commander";
import {
  type ConversionTarget,
  type ConvertReport,
  convertModel,
  defaultRecipe,
  floatDtypes,
} from "../quantizer/index.ts";
import { bytes, type CommonFlags, path } from "./arguments.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { UsageError } from "./errors.ts";
import { modelDirectory } from "./model-directory.ts";
import { formatBytes, formatSeconds, plural } from "./terminal/format.ts";

type ConvertFlags = CommonFlags & {
  readonly output: string;
  readonly format?: "gptq" | "gptq_v2";
  readonly dequantize?: boolean;
  readonly dtype?: (typeof floatDtypes)[number];
  readonly maxShardSize: number;
};

export const convert: CommandSpec = {
  name: "convert",
  define: defineConvert,
  run: runConvert,
};

const examples = `
Without --format, --dequantize or --dtype every tensor stays as it is: for other
shards, for safetensors instead of pytorch_model.bin, and for current names
(gptq_model-4bit-128g.safetensors becomes model.safetensors).

gptq stores each zero minus one, so an asymmetric model with a zero of 0 can
only be gptq_v2. A dequantized model is what the quantized one computes with,
rounded to --dtype; biases of zeros that the float model does not have go.

Examples:
  nibble convert Qwen-7B-Int4 --format gptq_v2 -o Qwen-7B-Int4-v2
  nibble convert Qwen-7B-Int4 --dequantize -o Qwen-7B-from-Int4
  nibble convert Qwen-7B --max-shard-size 500MB -o Qwen-7B-small-shards
  nibble convert old-pickles -o Qwen-7B --dtype bf16
`;

function defineConvert(command: Command): void {
  command
    .description("Write a model anew: other zero format, shards, dtype or file kind.")
    .argument("<model>", "model directory or model id", modelDirectory)
    .requiredOption("-o, --output <dir>", "directory for the result, empty or new", path)
    .addOption(
      new Option("--format <format>", "how a quantized model stores zeros").choices([
        "gptq",
        "gptq_v2",
      ]),
    )
    .option("--dequantize", "floats in the place of packed weights")
    .addOption(
      new Option(
        "--dtype <dtype>",
        "of a float result (default: bf16 with --dequantize, else as it is)",
      ).choices(floatDtypes),
    )
    .addOption(
      new Option("--max-shard-size <size>", "largest weight file")
        .argParser(bytes)
        .default(defaultRecipe.maxShardBytes, "2GB"),
    )
    .addHelpText("after", examples);
}

async function runConvert(command: Command, { output, signal }: CommandContext): Promise<void> {
  const [source = ""] = command.processedArgs as string[];
  const flags = command.opts<ConvertFlags>();
  const target = targetOf(flags);
  using device = openComputeDevice(flags);
  const report = await (async () => {
    using progress = output.progress();
    return await convertModel({
      ...{
        source,
        output: flags.output,
        target,
        maxShardBytes: flags.maxShardSize,
        device,
        signal,
      },
      onProgress: ({ label, fraction }) => progress.update(label, fraction),
    });
  })();
  output.result({ output: flags.output, ...report }, () => renderConvert(report, flags.output));
}

function targetOf({ format, dequantize, dtype }: ConvertFlags): ConversionTarget {
  if (format !== undefined && (dequantize === true || dtype !== undefined)) {
    const other = dequantize === true ? "--dequantize" : "--dtype";
    throw new UsageError(`--format is for a quantized result, ${other} for a float one`);
  }
  if (dequantize === true) return { to: "dequantized", dtype: dtype ?? "bf16" };
  if (dtype !== undefined) return { to: "cast", dtype };
  return format === undefined ? { to: "same" } : { to: "format", format };
}

function renderConvert(report: ConvertReport, dir: string): string {
  const { target, sourceFormat, droppedBiases, unused, conversions, files } = report;
  const facts = [
    describeTarget(target, sourceFormat),
    plural(report.tensors, "tensor"),
    formatBytes(report.tensorBytes),
    formatSeconds(report.seconds),
  ];
  return [
    `${dir}: ${facts.join(", ")}`,
    ...(droppedBiases.length === 0
      ? []
      : [`left out: ${plural(droppedBiases.length, "bias tensor")} of zeros`]),
    ...unused.map((name) => `left out: ${name}, which the model makes no use of`),
    ...conversions.map(
      ({ name, overflowed, flushed }) =>
        `${name}: ${overflowed} values became infinite and ${flushed} became zero`,
    ),
    ...files.skipped.map((file) => `not copied: ${file}`),
  ].join("\n");
}

function describeTarget(
  target: ConversionTarget,
  sourceFormat: ConvertReport["sourceFormat"],
): string {
  switch (target.to) {
    case "same":
      return "tensors unchanged";
    case "format":
      return `${sourceFormat} to ${target.format}`;
    case "dequantized":
      return `dequantized to ${target.dtype}`;
    case "cast":
      return `floats as ${target.dtype}`;
    default:
      return target satisfies never;
  }
}

import { type Command, Option } from "commander";
import { defaultRecipe, type MergeReport, mergeModel } from "../quantizer/index.ts";
import { bytes, type CommonFlags, path } from "./arguments.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { modelDirectory } from "./model-directory.ts";
import { formatBytes, formatSeconds, plural } from "./terminal/format.ts";

type MergeFlags = CommonFlags & {
  readonly adapter: string;
  readonly output: string;
  readonly maxShardSize: number;
};

export const merge: CommandSpec = {
  name: "merge",
  define: defineMerge,
  run: runMerge,
};

const examples = `
Reads what PEFT saved: adapter_config.json and adapter_model.safetensors, or
adapter_model.bin, of which nothing is run. Only LoRA can be merged: no Q-LoRA,
DoRA or other kinds. To quantize the result, quantize --adapter does both at
once, with the same outcome.

Examples:
  nibble merge Qwen-7B --adapter output_qwen -o Qwen-7B-finetuned
`;

function defineMerge(command: Command): void {
  command
    .description("Merge a LoRA adapter into a float model, as a checkpoint of its own.")
    .argument("<model>", "directory or model id: the float model", modelDirectory)
    .requiredOption("--adapter <dir>", "directory or id of the LoRA adapter (PEFT)", modelDirectory)
    .requiredOption("-o, --output <dir>", "directory for the result, empty or new", path)
    .addOption(
      new Option("--max-shard-size <size>", "largest weight file")
        .argParser(bytes)
        .default(defaultRecipe.maxShardBytes, "2GB"),
    )
    .addHelpText("after", examples);
}

async function runMerge(command: Command, { output, signal }: CommandContext): Promise<void> {
  const [source = ""] = command.processedArgs as string[];
  const flags = command.opts<MergeFlags>();
  const { adapter, output: dir, maxShardSize } = flags;
  using device = openComputeDevice(flags);
  const report = await (async () => {
    using progress = output.progress();
    return await mergeModel({
      ...{ source, adapter, output: dir, maxShardBytes: maxShardSize, device, signal },
      onProgress: ({ label, fraction }) => progress.update(label, fraction),
    });
  })();
  output.result({ output: dir, ...report }, () => renderMerge(report, dir));
}

function renderMerge(report: MergeReport, dir: string): string {
  const changed = `${plural(report.changed.length, "tensor")} changed`;
  const facts = [changed, formatBytes(report.tensorBytes), formatSeconds(report.seconds)];
  return [
    `${dir}: ${facts.join(", ")}`,
    ...report.files.skipped.map((file) => `not copied: ${file}`),
  ].join("\n");
}

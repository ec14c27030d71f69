import { statSync } from "node:fs";
import type { Command } from "commander";
import {
  checkOutputDirectory,
  hasInterruptedRun,
  type QuantizationReport,
  QuantizeError,
  type QuantizeOptions,
  quantizeModel,
  type Recipe,
  rehearse,
} from "../quantizer/index.ts";
import { openCheckpoint } from "../runtime/index.ts";
import { decimal, path, ranges } from "./arguments.ts";
import { loadSegments, noteSegments } from "./calibration-data.ts";
import { dataHelp } from "./calibration-flags.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { UsageError } from "./errors.ts";
import { memoryLimit } from "./memory.ts";
import { type BudgetFlags, checkBudget, mixedRecipe } from "./mixed-recipe.ts";
import { modelDirectory } from "./model-directory.ts";
import { addRunFlags, optionsOf, type RunFlags, recipeOf } from "./quantize-flags.ts";
import { renderLinears, renderSummary } from "./quantize-summary.ts";
import { describeLimits, renderRehearsal } from "./rehearsal-text.ts";
import { formatBytes, plural } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { version } from "./version.ts";

type QuantizeFlags = RunFlags & {
  readonly output: string;
  readonly dryRun?: boolean;
  readonly overwrite?: boolean;
  readonly restart?: boolean;
  readonly verbose?: boolean;
  readonly statistics?: string;
} & BudgetFlags;

export const quantize: CommandSpec = {
  name: "quantize",
  define: defineQuantize,
  run: runQuantize,
};

const examples = `
Examples:
  nibble quantize Qwen/Qwen-1_8B-Chat --data chats.json -o my-Int4
  nibble quantize qwen-mini --bits 8 --data books.jsonl -o qwen-mini-int8
  nibble quantize Qwen-7B --adapter output_qwen --data chats.json -o my-Int4
  nibble quantize Qwen-7B --statistics Qwen-7B-statistics.safetensors \\
    --group-size 32 -o Qwen-7B-g32
  nibble quantize Qwen-7B --target-bpw 4.6 --data chats.json -o Qwen-7B-4.6
  nibble quantize qwen-mini --method rtn -o qwen-mini-rtn
  nibble quantize Qwen-7B --override 'mlp.c_proj:bits=8' --skip 'h.0.*' \\
    --data chats.json -o Qwen-7B-mixed
  nibble quantize Qwen-7B --recipe int4.yaml -o Qwen-7B-Int4 --dry-run

A recipe file holds flags under their names, such as
  bits: 4
  group-size: 64
  data: [chats.jsonl, books.parquet=0.5]
Flags on the command line go before it; paths in it are as on the command line.
`;

function defineQuantize(command: Command): void {
  command
    .description(
      "Quantize a model with GPTQ, in the file layout of the official Int4/Int8 releases.",
    )
    .argument("<model>", "float model: directory or model id", modelDirectory)
    .requiredOption("-o, --output <dir>", "directory for the result", path);
  addRunFlags(command);
  command
    .option(
      "--statistics <file>",
      "Hessians that `nibble calibrate --statistics` kept, in the place of --data: takes no pass through the model",
      path,
    )
    .option(
      "--target-bpw <bits>",
      "mean bits per weight of the linears, scales and zeros included, spent where they help most: 4 and 8 bits and groups of " +
        "32, 64 and 128, below 4.16 also 2 and 3 bits; in the place of --bits and --group-size",
      decimal(ranges.aboveZero),
    )
    .option("--dry-run", "check everything and say what would be done, without doing it")
    .option("--overwrite", "write into a directory that is not empty")
    .option("--restart", "start over where an interrupted run would be continued")
    .option("-v, --verbose", "also a table of all linears")
    .addHelpText("after", `${examples}${dataHelp}`);
}

async function runQuantize(command: Command, context: CommandContext): Promise<void> {
  const { output, signal } = context;
  const [source = ""] = command.processedArgs as string[];
  const flags = optionsOf<QuantizeFlags>(command);
  const recipe = recipeOf(withoutStreams(flags));
  checkCalibration(flags, recipe);
  checkBudget(command, flags);
  const isWaiting = hasInterruptedRun(flags.output);
  checkOutput(flags.output, source, isWaiting || (flags.overwrite ?? false));
  using device = openComputeDevice(flags);
  const segments = await loadSegments({ model: source, ...flags }, device);
  noteSegments(segments, output);
  const mixed = await mixedRecipe(recipe, flags, { source, segments, device }, context);
  const options: QuantizeOptions = {
    ...{ source, output: flags.output, recipe: mixed, device, version, signal },
    command: commandLine(process.argv.slice(2)),
    ...{ segments: segments.ids, masks: segments.masks },
    adapter: flags.adapter,
    statistics: flags.statistics,
    memory: memoryLimit(flags.memory),
    overwrite: flags.overwrite ?? false,
    onExisting: flags.restart === true ? "restart" : "resume",
  };
  const rehearsal = await rehearse(options);
  for (const line of describeLimits(rehearsal.limits)) output.note(line);
  if (flags.dryRun === true) {
    output.result({ output: flags.output, recipe: mixed, ...rehearsal }, () =>
      renderRehearsal(rehearsal, { recipe: mixed, dir: flags.output, colors: output.colors }),
    );
    return;
  }
  const report = await quantizeWithProgress(options, output, segments.tokens);
  output.result({ output: flags.output, ...report }, () => {
    const summary = renderSummary(report, {
      dir: flags.output,
      sourceSize: formatBytes(weightBytes(source)),
      colors: output.colors,
    });
    const isVerbose = flags.verbose ?? false;
    return isVerbose ? `${renderLinears(report, output.tableStyle)}\n\n${summary}` : summary;
  });
}

/** Kept statistics are of one stream: no other can be aimed at. */
function withoutStreams(flags: QuantizeFlags): QuantizeFlags {
  return flags.statistics === undefined ? flags : { gptaq: 0, ...flags };
}

function checkCalibration({ data, statistics, adapter }: QuantizeFlags, recipe: Recipe): void {
  if (statistics !== undefined) {
    const others = {
      "--data": data,
      "--adapter": adapter,
      "--method rtn": recipe.method === "rtn",
    };
    const [other] = Object.entries(others).find(([, value]) => (value ?? false) !== false) ?? [];
    if (other !== undefined) throw new UsageError(`--statistics does not go with ${other}`);
    if (recipe.gptaq === 0) return;
    throw new UsageError(
      `--gptaq ${recipe.gptaq} needs the model beside it, so --data; --statistics goes with --gptaq 0`,
    );
  }
  if (data !== undefined || recipe.method === "rtn") return;
  throw new UsageError(
    `--method ${recipe.method} needs --data FILE, text to calibrate on (--data example comes with nibble)`,
  );
}

async function quantizeWithProgress(
  options: QuantizeOptions,
  output: Output,
  tokens: number,
): Promise<QuantizationReport> {
  try {
    using progress = output.progress(tokens);
    return await quantizeModel({
      ...options,
      onResume: (pieces) =>
        output.note(`continuing an interrupted run: ${plural(pieces, "piece")} done already`),
      onProgress: ({ label, fraction }) => progress.update(label, fraction),
    });
  } catch (error) {
    // A QuantizeError is no interruption: what is there, if anything, this command would not continue.
    if (!(error instanceof QuantizeError) && hasInterruptedRun(options.output)) {
      output.note(`${options.output} keeps what is done: the same command continues from there`);
    }
    throw error;
  }
}

/** The command as a shell takes it. */
function commandLine(argv: readonly string[]): string {
  const quoted = argv.map((argument) =>
    /^[\w./:@%+=,-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`,
  );
  return ["nibble", ...quoted].join(" ");
}

/** Refuses at once what would otherwise be refused after the calibration text was read. */
function checkOutput(dir: string, source: string, isOverwriting: boolean): void {
  try {
    checkOutputDirectory(dir, source, isOverwriting);
  } catch (cause) {
    if (!(cause instanceof QuantizeError)) throw cause;
    throw new UsageError(`--output ${cause.message}`, { cause });
  }
}

/** Bytes of a model's weight files. */
export function weightBytes(dir: string): number {
  return openCheckpoint(dir).weightFiles.reduce((sum, file) => sum + statSync(file).size, 0);
}

import { statSync } from "node:fs";
import { type Command, Option } from "commander";
import { openDevice } from "../kernels/index.ts";
import {
  checkOutputDirectory,
  compatModes,
  defaultRecipe,
  hasInterruptedRun,
  parseRecipe,
  QuantizeError,
  quantizeModel,
  type Recipe,
  storageDtypes,
} from "../quantizer/index.ts";
import { openCheckpoint } from "../runtime/index.ts";
import { bytes, type CommonFlags, decimal, integer, path, ranges } from "./arguments.ts";
import { loadSegments } from "./calibration-data.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { UsageError } from "./errors.ts";
import { modelDirectory } from "./model-directory.ts";
import { renderLinears, renderSummary } from "./quantize-summary.ts";
import { formatBytes, plural } from "./terminal/format.ts";
import { version } from "./version.ts";

type QuantizeFlags = CommonFlags & {
  readonly output: string;
  readonly adapter?: string;
  readonly bits: string;
  readonly groupSize: string;
  readonly data?: string;
  readonly samples: number;
  readonly length?: number;
  readonly seed: number;
  readonly method: Recipe["method"];
  readonly asym?: boolean;
  readonly actOrder?: "static" | "dynamic" | false;
  readonly damping: number;
  readonly dtype: Recipe["dtype"];
  readonly compat: Recipe["compat"];
  readonly zeroBias: boolean;
  readonly maxShardSize: number;
  readonly overwrite?: boolean;
  readonly restart?: boolean;
  readonly verbose?: boolean;
};

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
  nibble quantize qwen-mini --method rtn -o qwen-mini-rtn

Calibration text: .json or .jsonl with rows of {"text"}, {"messages": [{"role",
"content"}]} or {"conversations": [{"from", "value"}]}; .txt; or .safetensors
with input_ids [count, length].
`;

function defineQuantize(command: Command): void {
  const recipe = defaultRecipe;
  command
    .description(
      "Quantize a model with GPTQ, in the file layout of the official Int4/Int8 releases.",
    )
    .argument("<model>", "float model: directory or model id", modelDirectory)
    .requiredOption("-o, --output <dir>", "directory for the result", path)
    .option("--adapter <dir>", "LoRA adapter (PEFT) to merge into the weights", modelDirectory)
    .addOption(choice("--bits <n>", "bits per weight", ["4", "8"], `${recipe.bits}`))
    .addOption(
      choice(
        "--group-size <n>",
        "inputs that share a scale, -1 for all",
        ["32", "64", "128", "-1"],
        `${recipe.groupSize}`,
      ),
    )
    .option("--data <file>", "calibration text (rtn: optional)", path)
    .option("--samples <n>", "calibration segments", integer(1), 128)
    .option(
      "--length <tokens>",
      "tokens per segment (default: the trained length, at most 2048)",
      integer(2),
    )
    .option("--seed <n>", "seed of the choice of segments", integer(0), 0)
    .addOption(choice("--method <name>", "how to round", ["gptq", "rtn"], recipe.method))
    .option("--asym", "grids with a zero point of their own")
    .addOption(
      new Option(
        "--act-order [groups]",
        "round columns with large inputs first, with static groups (the layout stays the usual one; the default for " +
          "gptq) or dynamic ones (AutoGPTQ's desc_act)",
      )
        .choices(["static", "dynamic"])
        .preset("static"),
    )
    .option("--no-act-order", "round columns as they stand")
    .option(
      "--damping <x>",
      "share of the mean Hessian diagonal added to it",
      decimal(ranges.damping),
      recipe.damping,
    )
    .addOption(
      choice("--dtype <name>", "of scales and unquantized tensors", storageDtypes, recipe.dtype),
    )
    .addOption(
      choice("--compat <mode>", "reproduce AutoGPTQ's results", compatModes, recipe.compat),
    )
    .option("--no-zero-bias", "no biases of zeros for linears without one (some loaders need them)")
    .addOption(
      new Option("--max-shard-size <size>", "largest weight file")
        .argParser(bytes)
        .default(recipe.maxShardBytes, "2GB"),
    )
    .option("--overwrite", "write into a directory that is not empty")
    .option("--restart", "start over where an interrupted run would be continued")
    .option("-v, --verbose", "also a table of all linears")
    .addHelpText("after", examples);
}

function choice(
  flags: string,
  description: string,
  choices: readonly string[],
  initial: string,
): Option {
  return new Option(flags, description).choices(choices).default(initial);
}

async function runQuantize(command: Command, { output, signal }: CommandContext): Promise<void> {
  const [source = ""] = command.processedArgs as string[];
  const flags = command.opts<QuantizeFlags>();
  const recipe = recipeOf(flags);
  if (flags.data === undefined && recipe.method !== "rtn") {
    throw new UsageError(`--method ${recipe.method} needs --data FILE, text to calibrate on`);
  }
  const isWaiting = hasInterruptedRun(flags.output);
  checkOutput(flags.output, source, isWaiting || (flags.overwrite ?? false));
  using device = openDevice(flags.threads === undefined ? {} : { threads: flags.threads });
  const { samples, length, seed, data } = flags;
  const segments =
    data === undefined
      ? { ids: [], tokens: 0 }
      : loadSegments({ model: source, data, samples, length, seed }, device);
  if ("note" in segments) output.note(`note: ${segments.note}`);
  if (data !== undefined)
    output.note(
      `calibrating on ${plural(segments.ids.length, "segment")} of ${plural(segments.tokens, "token")}`,
    );
  const report = await (async () => {
    using progress = output.progress(segments.tokens);
    return await quantizeModel({
      ...{ source, output: flags.output, segments: segments.ids, recipe, device, version, signal },
      adapter: flags.adapter,
      overwrite: flags.overwrite ?? false,
      onExisting: flags.restart === true ? "restart" : "resume",
      onResume: (pieces) =>
        output.note(`continuing an interrupted run: ${plural(pieces, "piece")} done already`),
      onProgress: ({ label, fraction }) => progress.update(label, fraction),
    });
  })().catch((error: unknown) => {
    if (hasInterruptedRun(flags.output)) {
      output.note(`${flags.output} keeps what is done: the same command continues from there`);
    }
    throw error;
  });
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

/** @throws RecipeError RECIPE_OPTION */
function recipeOf(flags: QuantizeFlags): Recipe {
  const order = orderOf(flags);
  return parseRecipe({
    method: flags.method,
    bits: Number(flags.bits) as Recipe["bits"],
    groupSize: Number(flags.groupSize) as Recipe["groupSize"],
    symmetric: !(flags.asym ?? false),
    ...(order === undefined ? {} : { order }),
    damping: flags.damping,
    dtype: flags.dtype,
    compat: flags.compat,
    zeroBias: flags.zeroBias,
    maxShardBytes: flags.maxShardSize,
  });
}

/** Undefined where the recipe's default for the method counts. */
function orderOf({ method, actOrder }: QuantizeFlags): Recipe["order"] | undefined {
  if (actOrder === undefined) return undefined;
  if (actOrder === false) return "in-order";
  if (method === "rtn") {
    throw new UsageError("--act-order has no effect with --method rtn, which has no order");
  }
  return actOrder === "static" ? "act-order-static" : "act-order";
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

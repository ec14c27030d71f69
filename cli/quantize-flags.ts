// Flags that say how a model is quantized and on what it is calibrated, for every command that takes a recipe.

import { type Command, Option } from "commander";
import {
  compatModes,
  defaultRecipe,
  grids,
  parseRecipe,
  type Recipe,
  storageDtypes,
} from "../quantizer/index.ts";
import { bytes, decimal, ranges } from "./arguments.ts";
import { addDataFlags, type DataFlags } from "./calibration-flags.ts";
import { UsageError } from "./errors.ts";
import { modelDirectory } from "./model-directory.ts";
import { applyRecipeFile } from "./recipe-file.ts";

export type RecipeFlags = {
  readonly bits: string;
  readonly groupSize: string;
  readonly method: Recipe["method"];
  readonly asym?: boolean;
  readonly actOrder?: "static" | "dynamic" | false;
  readonly grid: Recipe["grid"];
  readonly damping: number;
  readonly dtype: Recipe["dtype"];
  readonly compat: Recipe["compat"];
  readonly zeroBias: boolean;
  readonly maxShardSize: number;
};

export type CalibrationFlags = DataFlags & { readonly adapter?: string };

export function addRecipeFlags(command: Command): void {
  const recipe = defaultRecipe;
  command
    .addOption(choice("--bits <n>", "bits per weight", ["4", "8"], `${recipe.bits}`))
    .addOption(
      choice(
        "--group-size <n>",
        "inputs that share a scale, -1 for all",
        ["32", "64", "128", "-1"],
        `${recipe.groupSize}`,
      ),
    )
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
    .addOption(
      choice(
        "--grid <fit>",
        "scales that cover every weight (min-max), or that clip the largest where it lowers the error (mse)",
        grids,
        recipe.grid,
      ),
    )
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
    );
}

export function addCalibrationFlags(command: Command): void {
  command.option(
    "--adapter <dir>",
    "LoRA adapter (PEFT) to merge into the weights",
    modelDirectory,
  );
  addDataFlags(command);
}

function choice(
  flags: string,
  description: string,
  choices: readonly string[],
  initial: string,
): Option {
  return new Option(flags, description).choices(choices).default(initial);
}

/** A command's flags, those of `--recipe FILE` included. */
export function optionsOf<Flags>(command: Command): Flags {
  const { recipe } = command.opts<{ readonly recipe?: string }>();
  if (recipe !== undefined) applyRecipeFile(command, recipe);
  return command.opts() as Flags;
}

/** @throws RecipeError RECIPE_OPTION */
export function recipeOf(flags: RecipeFlags): Recipe {
  const order = orderOf(flags);
  return parseRecipe({
    method: flags.method,
    bits: Number(flags.bits) as Recipe["bits"],
    groupSize: Number(flags.groupSize) as Recipe["groupSize"],
    symmetric: !(flags.asym ?? false),
    ...(order === undefined ? {} : { order }),
    grid: flags.grid,
    damping: flags.damping,
    dtype: flags.dtype,
    compat: flags.compat,
    zeroBias: flags.zeroBias,
    maxShardBytes: flags.maxShardSize,
  });
}

/** Undefined where the recipe's default for the method counts. */
function orderOf({ method, actOrder }: RecipeFlags): Recipe["order"] | undefined {
  if (actOrder === undefined) return undefined;
  if (actOrder === false) return "in-order";
  if (method === "rtn") {
    throw new UsageError("--act-order has no effect with --method rtn, which has no order");
  }
  return actOrder === "static" ? "act-order-static" : "act-order";
}

// Flags that say how a model is quantized and on what it is calibrated, for every command that takes a recipe.

import { type Command, InvalidArgumentError, Option } from "commander";
import { weightBits } from "../kernels/index.ts";
import {
  compatModes,
  defaultRecipe,
  grids,
  groupSizes,
  hessianDtypes,
  parseRecipe,
  type Recipe,
  type RecipeRule,
  storageDtypes,
} from "../quantizer/index.ts";
import { bytes, type CommonFlags, decimal, path, ranges, repeated } from "./arguments.ts";
import { addDataFlags, type DataFlags } from "./calibration-flags.ts";
import { UsageError } from "./errors.ts";
import { modelDirectory } from "./model-directory.ts";
import { applyRecipeFile } from "./recipe-file.ts";

type RecipeFlags = {
  readonly bits: string;
  readonly groupSize: string;
  readonly method: Recipe["method"];
  readonly asym?: boolean;
  readonly actOrder?: "static" | "dynamic" | false;
  readonly grid: Recipe["grid"];
  readonly damping: number;
  readonly hessianDtype: Recipe["hessianDtype"] | undefined;
  readonly dtype: Recipe["dtype"];
  readonly compat: Recipe["compat"];
  readonly zeroBias: boolean;
  readonly maxShardSize: number;
  readonly override?: readonly RecipeRule[];
  readonly skip?: readonly string[];
};

/** Of every command that is about a run of `quantize`. */
export type RunFlags = CommonFlags &
  RecipeFlags &
  DataFlags & { readonly adapter?: string; readonly memory?: number };

export function addRunFlags(command: Command): void {
  addRecipeFlags(command);
  addRuleFlags(command);
  command.option(
    "--adapter <dir>",
    "LoRA adapter (PEFT) to merge into the weights",
    modelDirectory,
  );
  addDataFlags(command);
  command
    .option(
      "--memory <size>",
      "resident memory to stay within; hidden states beyond it go to a temporary file beside the result " +
        "(default: four fifths of what is free)",
      bytes,
    )
    .option("--recipe <file>", "flags from a JSON or YAML file", path);
}

function addRecipeFlags(command: Command): void {
  const recipe = defaultRecipe;
  command
    .addOption(choice("--bits <n>", "bits per weight", weightBits.map(String), `${recipe.bits}`))
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
      new Option(
        "--hessian-dtype <name>",
        "what activations are rounded to before the Hessian is summed (default: bf16; f32 with --compat autogptq)",
      ).choices(hessianDtypes),
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

function addRuleFlags(command: Command): void {
  command
    .option(
      "--override <pattern:settings>",
      "bits and group size of the linears whose names match, such as 'mlp.c_proj:bits=8' or " +
        "'h.0.*:bits=8,group-size=32'; repeatable, the first match counts",
      overrides,
    )
    .option(
      "--skip <pattern>",
      "keep the linears whose names match as floats; repeatable, goes before --override",
      repeated,
    );
}

/** Reads `PATTERN:bits=8,group-size=32` behind what earlier flags of the kind said. */
function overrides(
  text: string,
  earlier: readonly RecipeRule[] | undefined,
): readonly RecipeRule[] {
  const [, pattern, settings] = /^(.+):([^:]*)$/.exec(text) ?? [];
  if (pattern === undefined || settings === undefined) throw malformedOverride();
  const values = new Map(settings.split(",").map(parseSetting));
  const bits = weightBits.find((known) => known === values.get("bits"));
  const groupSize = groupSizes.find((known) => known === values.get("group-size"));
  const rule: RecipeRule = {
    pattern,
    ...(bits === undefined ? {} : { bits }),
    ...(groupSize === undefined ? {} : { groupSize }),
  };
  return [...(earlier ?? []), rule];
}

const overridable: ReadonlyMap<string, readonly number[]> = new Map<string, readonly number[]>([
  ["bits", weightBits],
  ["group-size", groupSizes],
]);

function parseSetting(text: string): readonly [string, number] {
  const [, name = "", value = ""] = /^\s*([\w-]+)=(-?\d+)\s*$/.exec(text) ?? [];
  const key = name.replaceAll("_", "-");
  const allowed = overridable.get(key);
  if (allowed === undefined) throw malformedOverride();
  if (allowed.includes(Number(value))) return [key, Number(value)];
  throw new InvalidArgumentError(`${key} is ${value}; expected one of ${allowed.join(", ")}.`);
}

function malformedOverride(): InvalidArgumentError {
  return new InvalidArgumentError(
    "Expected PATTERN:bits=N, PATTERN:group-size=N or both with a comma, such as mlp.c_proj:bits=8.",
  );
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
    ...(flags.hessianDtype === undefined ? {} : { hessianDtype: flags.hessianDtype }),
    dtype: flags.dtype,
    compat: flags.compat,
    zeroBias: flags.zeroBias,
    maxShardBytes: flags.maxShardSize,
    rules: [
      ...(flags.skip ?? []).map((pattern) => ({ pattern, skip: true }) as const),
      ...(flags.override ?? []),
    ],
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

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
  presetNames,
  type Recipe,
  type RecipeRule,
  refinements,
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
  readonly grid?: Recipe["grid"];
  readonly signedScales?: boolean;
  readonly refine?: Recipe["refine"];
  readonly gptaq?: number;
  readonly damping?: number;
  readonly hessianDtype: Recipe["hessianDtype"] | undefined;
  readonly dtype: Recipe["dtype"];
  readonly compat?: Recipe["compat"];
  readonly recipe?: string;
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
    .option(
      "--recipe <name|file>",
      "best: the least error (default); fast: what takes no more time than plain GPTQ; compat: AutoGPTQ's results; " +
        "or a JSON or YAML file of flags",
      recipeName,
    );
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
        "round columns with large inputs first, with static groups (the layout stays the usual one; the default) or " +
          "dynamic ones (AutoGPTQ's desc_act)",
      )
        .choices(["static", "dynamic"])
        .preset("static"),
    )
    .option("--no-act-order", "round columns as they stand");
  addAccuracyFlags(command);
  command
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
      new Option(
        "--compat <mode>",
        "autogptq is the same as --recipe compat (default: none)",
      ).choices(compatModes),
    )
    .option("--no-zero-bias", "no biases of zeros for linears without one (some loaders need them)")
    .addOption(
      new Option("--max-shard-size <size>", "largest weight file")
        .argParser(bytes)
        .default(recipe.maxShardBytes, "2GB"),
    );
}

/** What a preset decides unless a flag does. */
function addAccuracyFlags(command: Command): void {
  const recipe = defaultRecipe;
  command
    .addOption(
      new Option(
        "--grid <fit>",
        "scales that cover every weight (min-max), or that clip the largest where it lowers the error, of all alike (mse) or " +
          "by what their inputs are worth (importance, the default)",
      ).choices(grids),
    )
    .option(
      "--signed-scales",
      "symmetric scales may be negative, which makes steps finer (the default)",
    )
    .option("--no-signed-scales", "only positive scales")
    .addOption(
      new Option(
        "--refine <what>",
        "improve scales, or codes too (the default), after rounding, by coordinate descent",
      ).choices(refinements),
    )
    .option(
      "--gptaq <share>",
      "how far to make up for the errors of earlier layers, from 0 (plain GPTQ) to 1 (GPTAQ); more than 0 runs the float " +
        `model beside the quantized one (default: ${recipe.gptaq})`,
      decimal(ranges.share),
    )
    .option(
      "--damping <x>",
      `share of the mean Hessian diagonal added to it (default: ${recipe.damping}; 0.01 with fast and compat)`,
      decimal(ranges.damping),
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

const isPreset = (text: string) => presetNames.some((name) => name === text);

function recipeName(text: string): string {
  return isPreset(text) ? text : path(text);
}

/** A command's flags, those of `--recipe FILE` included. */
export function optionsOf<Flags>(command: Command): Flags {
  const { recipe } = command.opts<{ readonly recipe?: string }>();
  if (recipe !== undefined && !isPreset(recipe)) applyRecipeFile(command, recipe);
  return command.opts() as Flags;
}

/** @throws RecipeError RECIPE_OPTION */
export function recipeOf(flags: RecipeFlags): Recipe {
  const order = orderOf(flags);
  const { signedScales, refine, gptaq, grid, damping, hessianDtype, compat } = flags;
  const chosen = { order, signedScales, refine, gptaq, grid, damping, hessianDtype, compat };
  const preset = presetNames.find((name) => name === flags.recipe);
  const options = {
    method: flags.method,
    bits: Number(flags.bits) as Recipe["bits"],
    groupSize: Number(flags.groupSize) as Recipe["groupSize"],
    symmetric: !(flags.asym ?? false),
    dtype: flags.dtype,
    zeroBias: flags.zeroBias,
    maxShardBytes: flags.maxShardSize,
    rules: [
      ...(flags.skip ?? []).map((pattern) => ({ pattern, skip: true }) as const),
      ...(flags.override ?? []),
    ],
  };
  return parseRecipe({ ...options, ...given(chosen) }, preset);
}

/** What flags were given for. */
function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
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

// Flags that say on what a model is calibrated, for every command that reads calibration data.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { type TokenScope, tokenScopes } from "../calibration/index.ts";
import { type AllowedSpecial, allowedSpecial, integer, repeated } from "./arguments.ts";
import { UsageError } from "./errors.ts";
import { packageRoot } from "./version.ts";

export type DataFlags = {
  readonly data?: readonly string[];
  readonly tokens: TokenScope;
  readonly samples: number;
  readonly length?: number;
  readonly seed: number;
  readonly allowedSpecial: AllowedSpecial;
};

export type DataPath = { readonly path: string; readonly weight: number };

/** Stands for the set that comes with the program. */
const exampleName = "example";

export const dataHelp: string = `
Calibration data: .json, .jsonl, .parquet or .arrow with rows of {"text"},
{"messages": [{"role", "content"}]}, {"conversations": [{"from", "value"}]} or
{"input_ids"}; .txt; a directory of such files; "${exampleName}", a small set that
comes with nibble; .safetensors, as \`nibble calibrate -o\` writes it. Several
--data make a mixture; FILE=WEIGHT sets a file's share of the segments.
`;

export function addDataFlags(command: Command): void {
  command
    .option(
      "--data <file>",
      `calibration data, several times for a mixture, FILE=WEIGHT for another share than 1; "${exampleName}" comes ` +
        "with the program",
      repeated,
    )
    .addOption(
      new Option(
        "--tokens <which>",
        "which tokens the statistics are made of; all of them run through the model",
      )
        .choices(tokenScopes)
        .default("all"),
    )
    .option("--samples <n>", "calibration segments", integer(1), 128)
    .option(
      "--length <tokens>",
      "tokens per segment (default: the trained length, at most 2048)",
      integer(2),
    )
    .option("--seed <n>", "seed of the choice of segments", integer(0), 0)
    .option(
      "--allowed-special <forms>",
      "control tokens to read as such in texts and messages: all, none, or a list",
      allowedSpecial,
      "all",
    );
}

/**
 * Reads `FILE` or `FILE=WEIGHT`; what exists under the whole text is a file.
 *
 * @throws UsageError if the weight is none
 */
export function parseDataPath(text: string): DataPath {
  const split = text.lastIndexOf("=");
  if (split < 0 || existsSync(text)) return { path: bundled(text), weight: 1 };
  const weight = Number(text.slice(split + 1));
  const path = text.slice(0, split);
  if (path !== "" && Number.isFinite(weight) && weight > 0) return { path: bundled(path), weight };
  throw new UsageError(
    `--data ${text}: there is no such file, and as FILE=WEIGHT it needs a number above 0 after a file`,
  );
}

function bundled(path: string): string {
  const isExample = path === exampleName && !existsSync(path);
  return isExample ? join(packageRoot, "examples", "calibration.jsonl") : path;
}

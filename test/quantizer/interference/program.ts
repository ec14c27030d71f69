// The program on a tiny model, with something happening to it at a certain step.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { modelFiles, writeFiles } from "../../cli/bad-input/model.ts";
import { nibble, type Outcome } from "../../cli/support.ts";
import { repositoryPath } from "../../support/shared.ts";

export type Interference = {
  /** The tensor or block whose entry in the journal comes before. */
  readonly after: string;
  /** Which call from there that changes the file system, from 1. */
  readonly step: number;
  /** A file that takes all of the disk that is left; without one the program is killed. */
  readonly fill?: string;
};

/** wte, ln_f, lm_head, four norms and two blocks. */
export const allPieces = 9;
export const lastBlock = "transformer.h.1";

export class Program {
  readonly #source: string;
  readonly #data: string;

  /** @param dir  where model and calibration text are written */
  constructor(dir: string) {
    this.#source = writeFiles(join(dir, "model"), modelFiles());
    this.#data = join(dir, "text.txt");
    writeFileSync(this.#data, "Once upon a time there was a fox. ".repeat(20));
  }

  run(output: string, interference?: Interference): Promise<Outcome> {
    const args = [
      ...["quantize", this.#source, "--data", this.#data, "-o", output, "--group-size", "32"],
      ...["--samples", "2", "--length", "16", "--threads", "1", "--max-shard-size", "150KB"],
    ];
    if (interference === undefined) return nibble(args);
    const { after, step, fill } = interference;
    const script = repositoryPath("test/quantizer/interference/step.cjs");
    const env = {
      ...{ NODE_OPTIONS: `--require ${JSON.stringify(script)}` },
      ...{ NIBBLE_TEST_AFTER: after, NIBBLE_TEST_STEP: `${step}` },
      ...(fill === undefined ? {} : { NIBBLE_TEST_FILL: fill }),
    };
    return nibble(args, { env });
  }
}

/** Pieces that a run said it continues after; 0 if it began anew. */
export function resumedPieces({ stderr }: Outcome): number {
  return Number(/continuing an interrupted run: (\d+) piece/.exec(stderr)?.[1] ?? 0);
}

/** Pieces that a run which ended early has recorded. */
export function recordedPieces(dir: string): number {
  const [, ...pieces] = readFileSync(join(dir, ".nibble-journal.jsonl"), "utf8").trim().split("\n");
  return pieces.length;
}

/** Hashes of all files but the reports, which hold times. */
export function filesOf(dir: string): ReadonlyMap<string, string> {
  const names = readdirSync(dir).filter((name) => !name.startsWith("report."));
  const hash = (name: string) => createHash("sha256").update(readFileSync(join(dir, name)));
  return new Map(names.map((name) => [name, hash(name).digest("hex")]));
}

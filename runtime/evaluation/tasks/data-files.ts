// Benchmark data in a user's directory, in the layouts in which it is published.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import type { z } from "zod";
import { EvaluationError } from "../errors.ts";

/** Published files of these sizes are far below. */
const maxUnpackedBytes = 256 * 2 ** 20;

export type DataSource = {
  /** Such as "MMLU". */
  readonly name: string;
  /** Where it can lie below the data directory, the first that is there. */
  readonly places: readonly string[];
  /** Where to get it. */
  readonly url: string;
};

/** @throws EvaluationError EVALUATION_DATA saying where it was looked for and where to get it */
export function findData(dataDir: string, { name, places, url }: DataSource): string {
  const found = places.map((place) => join(dataDir, place)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new EvaluationError(
    "EVALUATION_DATA",
    `${name} is not in ${dataDir} (--data-dir); expected ${places.join(" or ")} there; get it from ${url}`,
  );
}

/** Names in a directory that a pattern matches, in order; none if there is no directory. */
export function filesMatching(dir: string, pattern: RegExp): readonly string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => pattern.test(name))
    .sort();
}

/**
 * The rows of a .csv file, quoted fields and all.
 *
 * @param columns  names of the columns of a file without a header; by default the first row has them
 */
export function readCsv(
  path: string,
  columns?: readonly string[],
): readonly Readonly<Record<string, string>>[] {
  const text = readText(path);
  try {
    return parse(text, {
      ...{ columns: columns === undefined ? true : [...columns], bom: true },
      skipEmptyLines: true,
    }) as Record<string, string>[];
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EvaluationError("EVALUATION_DATA", `${path}: not the CSV it should be: ${reason}`, {
      cause,
    });
  }
}

/** The rows of a .jsonl file, or of a .jsonl.gz. */
export function readJsonLines<Row>(path: string, schema: z.ZodType<Row>): readonly Row[] {
  return readText(path)
    .split("\n")
    .flatMap((line, i) => (line.trim() === "" ? [] : [parseRow(line, `${path}, line ${i + 1}`)]));

  function parseRow(line: string, where: string): Row {
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new EvaluationError("EVALUATION_DATA", `${where}: not JSON: ${reason}`, { cause });
    }
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new EvaluationError(
      "EVALUATION_DATA",
      `${where}: field ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not valid"}`,
    );
  }
}

function readText(path: string): string {
  try {
    const bytes = readFileSync(path);
    const plain = path.endsWith(".gz")
      ? gunzipSync(bytes, { maxOutputLength: maxUnpackedBytes })
      : bytes;
    return new TextDecoder("utf-8", { fatal: true }).decode(plain);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EvaluationError("EVALUATION_DATA", `${path}: cannot be read: ${reason}`, { cause });
  }
}

import { readFileSync } from "node:fs";
import type { z } from "zod";
import { InputError } from "../errors.ts";

/**
 * What a JSON file of a run holds.
 *
 * @param advice  what to do if it is missing or wrong
 * @throws InputError naming the file and the field
 */
export function readJson<Value>(file: string, schema: z.ZodType<Value>, advice: string): Value {
  const text = new TextDecoder().decode(readInput(file, advice));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${file}: not JSON: ${reasonOf(cause)}; ${advice}`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const place = issue?.path.map(String).join(".") ?? "";
  throw new InputError(
    `${file}: ${place === "" ? "" : `${place}: `}${issue?.message ?? "unexpected contents"}; ${advice}`,
  );
}

/** @throws InputError */
export function readInput(file: string, advice: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new InputError(`${file}: cannot be read: ${reasonOf(cause)}; ${advice}`, { cause });
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

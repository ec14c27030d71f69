// Prompts of a .jsonl file, one object per line.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { InputError } from "../errors.ts";

type Id = string | number | undefined;

export type BatchPrompt =
  | { readonly id?: Id; readonly prompt: string }
  | {
      readonly id?: Id;
      readonly messages: { role: "system" | "user" | "assistant"; content: string }[];
    };

const message = z.object({
  role: z.enum(["system", "user", "assistant"]),
  content: z.string(),
});

const schema: z.ZodType<BatchPrompt> = z.union([
  z.strictObject({ id: z.union([z.string(), z.number()]).optional(), prompt: z.string().min(1) }),
  z.strictObject({
    id: z.union([z.string(), z.number()]).optional(),
    messages: z.array(message).min(1),
  }),
]);

export type PromptsFile = {
  readonly prompts: readonly BatchPrompt[];
  /** Of the file's bytes, to know it again. */
  readonly digest: string;
};

/** @throws InputError naming the file, and the line that is wrong */
export function readPrompts(path: string): PromptsFile {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new InputError(`${path}: cannot be read: ${reasonOf(cause)}`);
  }
  const prompts: BatchPrompt[] = [];
  for (const [i, line] of bytes.toString("utf8").split("\n").entries()) {
    if (line.trim() !== "") prompts.push(parseLine(line, `${path}, line ${i + 1}`));
  }
  if (prompts.length === 0) throw new InputError(`${path}: there is no prompt in it`);
  return { prompts, digest: createHash("sha256").update(bytes).digest("hex") };
}

function parseLine(line: string, where: string): BatchPrompt {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    throw new InputError(`${where}: not JSON: ${reasonOf(cause)}`);
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new InputError(
    `${where}: expected {"prompt": TEXT} or {"messages": [{"role", "content"}, …]}, each with an "id" if wanted`,
  );
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

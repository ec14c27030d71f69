// A conversation in a file.
import { existsSync } from "node:fs";
import { z } from "zod";
import {
  type ChatTurn,
  CheckpointError,
  GenerationError,
  readJsonFile,
  writeFileAtomic,
} from "../../runtime/index.ts";
import { plural } from "../terminal/format.ts";
import type { ChatSession, ChatSettings } from "./session.ts";
import { checkSettings } from "./settings.ts";

const turn = z.object({ user: z.string(), assistant: z.string() });

const schema = z.object({
  version: z.literal(1),
  system: z.string(),
  settings: z.record(z.string(), z.number()),
  turns: z.array(turn),
});

/**
 * Writes it whole or not at all, over a saved conversation only.
 *
 * @returns what was done, or why not
 */
export function saveChat(session: ChatSession, file: string): string {
  const { system, settings, history } = session;
  const turns = history.map(({ query, response }) => ({ user: query, assistant: response }));
  try {
    if (existsSync(file)) read(file);
  } catch {
    return `${file} is there already and is no saved conversation; choose another name`;
  }
  try {
    const saved = { version: 1, system, settings, turns };
    writeFileAtomic(file, `${JSON.stringify(saved, undefined, 2)}\n`);
  } catch (error) {
    return problemOf(error);
  }
  return `saved ${plural(turns.length, "turn")} to ${file}`;
}

/**
 * Takes the place of what was said, system text and settings included.
 *
 * @returns what was done, or what is wrong with the file; nothing is then changed
 */
export function loadChat(session: ChatSession, file: string): string {
  try {
    const { system, settings, turns } = read(file);
    const history: ChatTurn[] = turns.map(({ user, assistant }) => ({
      ...{ query: user, response: assistant },
    }));
    const checked = checkSettings({ ...session.settings, ...(settings as Partial<ChatSettings>) });
    session.restore({ system, settings: checked, history });
    return `loaded ${plural(turns.length, "turn")} from ${file}`;
  } catch (error) {
    return error instanceof GenerationError
      ? `${file}: settings: ${error.message}`
      : problemOf(error);
  }
}

function read(file: string): z.infer<typeof schema> {
  const parsed = schema.safeParse(readJsonFile(file, "CHECKPOINT_CONFIG"));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CheckpointError(
    "CHECKPOINT_CONFIG",
    `${file}: no saved conversation: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not valid"}`,
  );
}

function problemOf(error: unknown): string {
  if (error instanceof CheckpointError) return error.message;
  throw error;
}

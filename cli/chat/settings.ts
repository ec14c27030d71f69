// The settings of a chat by the names of generation_config.json, shown and changed.
import {
  GenerationError,
  parseSamplingOptions,
  type SamplingOptions,
} from "../../runtime/index.ts";
import { formatCount } from "../terminal/format.ts";
import type { ChatSession, ChatSettings } from "./session.ts";

type SettingName =
  | "temperature"
  | "top_p"
  | "top_k"
  | "min_p"
  | "repetition_penalty"
  | "presence_penalty"
  | "frequency_penalty"
  | "seed"
  | "max_new_tokens"
  | "max_window_size";

const settings: Readonly<Record<SettingName, keyof ChatSettings>> = {
  temperature: "temperature",
  top_p: "topP",
  top_k: "topK",
  min_p: "minP",
  repetition_penalty: "repetitionPenalty",
  presence_penalty: "presencePenalty",
  frequency_penalty: "frequencyPenalty",
  seed: "seed",
  max_new_tokens: "maxNewTokens",
  max_window_size: "maxWindow",
};

/** Every key of `/config`. */
export const settingNames = Object.keys(settings) as readonly SettingName[];

export function showSettings(
  session: ChatSession,
  names: readonly SettingName[] = settingNames,
): string {
  return names.map((name) => `${name} = ${session.settings[settings[name]]}`).join("\n");
}

/**
 * Changes all pairs KEY=VALUE or none.
 *
 * @returns the new values, or what is wrong
 */
export function changeSettings(session: ChatSession, pairs: readonly string[]): string {
  const changes: Partial<Record<keyof ChatSettings, number>> = {};
  const names: SettingName[] = [];
  for (const pair of pairs) {
    const [key = "", text = ""] = pair.split(/=(.*)/s);
    const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replaceAll("-", "_");
    if (!isSettingName(name)) return `no setting ${key}; there are ${settingNames.join(", ")}`;
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!Number.isFinite(value))
      return `${key}: expected ${key}=NUMBER, got ${JSON.stringify(pair)}`;
    changes[settings[name]] = value;
    names.push(name);
  }
  try {
    session.settings = checkSettings({ ...session.settings, ...changes });
  } catch (error) {
    if (error instanceof GenerationError) return error.message;
    throw error;
  }
  return showSettings(session, names);
}

/** @throws GenerationError GENERATION_OPTION naming what is out of range */
export function checkSettings(settings: ChatSettings): ChatSettings {
  const { maxNewTokens, maxWindow, ...sampling } = settings;
  for (const [name, count] of Object.entries({ maxNewTokens, maxWindow })) {
    if (Number.isSafeInteger(count) && count >= 1) continue;
    const problem = `${name} must be an integer from 1, got ${formatCount(count)}`;
    throw new GenerationError("GENERATION_OPTION", problem);
  }
  const checked: SamplingOptions = parseSamplingOptions(sampling);
  return { ...checked, maxNewTokens, maxWindow };
}

function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(settings, name);
}

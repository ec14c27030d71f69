// Models named on the command line: a directory, or an id that the local Hugging Face cache knows.

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { findInHubCache, parseModelId } from "../runtime/index.ts";
import { path } from "./arguments.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The directory of a model: the text itself if it leads somewhere or is no model id, else where the Hugging Face cache
 * has that model. An argument parser for commander.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND if the cache does not have it
 */
export function modelDirectory(text: string): string {
  const local = path(text);
  if (existsSync(local)) return local;
  const id = parseModelId(local);
  return id === undefined ? local : findInHubCache(id, hubCacheDirectory(process.env, homedir()));
}

/** One more model of an argument that takes several. */
export function modelDirectories(
  text: string,
  earlier: readonly string[] | undefined,
): readonly string[] {
  return [...(earlier ?? []), modelDirectory(text)];
}

/** @see https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables */
export function hubCacheDirectory(variables: Variables, home: string): string {
  const directory = (name: string): string | undefined => {
    const value = variables[name];
    if (value === undefined || value === "") return undefined;
    return value === "~" || value.startsWith("~/") ? join(home, value.slice(1)) : value;
  };
  const cache = directory("HF_HUB_CACHE");
  if (cache !== undefined) return cache;
  const huggingFace =
    directory("HF_HOME") ??
    join(directory("XDG_CACHE_HOME") ?? join(home, ".cache"), "huggingface");
  return join(huggingFace, "hub");
}

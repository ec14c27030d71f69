// Packed weights that are kept in the user's cache directory, for commands that generate.

import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { CheckpointError, type Model, type PackedCacheOptions } from "../runtime/index.ts";
import { formatBytes } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Where packed weights are kept.
 *
 * @see https://specifications.freedesktop.org/basedir-spec/latest/ : a relative XDG_CACHE_HOME is to be ignored
 */
export function weightCacheDirectory(
  variables: Variables = process.env,
  home: string = homedir(),
): string {
  const base = variables["XDG_CACHE_HOME"];
  const cache = base !== undefined && isAbsolute(base) ? base : join(home, ".cache");
  return join(cache, "nibble");
}

export function weightCacheOf(flags: { readonly cache: boolean }): PackedCacheOptions | undefined {
  return flags.cache ? { directory: weightCacheDirectory() } : undefined;
}

/** Keeps what was packed in this run. Without room, or in a directory that cannot be written, that is only noted. */
export async function keepPackedWeights(
  model: Model,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { packedCache: cache } = model;
  if (cache === undefined) return;
  if (cache.problem !== undefined) output.note(`kept weights were not used: ${cache.problem}`);
  try {
    const kept = await cache.save(signal);
    if (kept === undefined) return;
    output.note(`kept ${formatBytes(kept.bytes)} for a faster start next time: ${kept.file}`);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    output.note(`weights were not kept for the next start: ${error.message} (--no-cache)`);
  }
}

// Models that were downloaded with Hugging Face's own tools, found in their cache. Never asks the network.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError, shown } from "./errors.ts";
import { readRegularFile, statPath, unlistable } from "./file-access.ts";
import { isJsonObject, readJsonFile } from "./json.ts";

/** `Qwen/Qwen-7B-Chat`, or with a branch, tag or commit `Qwen/Qwen-7B-Chat@main`. */
export type ModelId = {
  readonly organization: string;
  readonly name: string;
  readonly revision: string;
};

const idPattern =
  /^([A-Za-z0-9_][\w.-]{0,95})\/([A-Za-z0-9_][\w.-]{0,95})(?:@([\w.-]+(?:\/[\w.-]+)*))?$/;
const commitPattern = /^[0-9a-f]{40}$/;
/** Names of branches and tags are short, and a commit has 40 characters. */
const refLimitBytes = 4096;

/** @returns undefined if the text cannot be a model id */
export function parseModelId(text: string): ModelId | undefined {
  const [, organization, name, revision = "main"] = idPattern.exec(text) ?? [];
  if (organization === undefined || name === undefined) return undefined;
  if (revision.split("/").some((part) => /^\.+$/.test(part))) return undefined;
  return { organization, name, revision };
}

/**
 * The directory of a model in a Hugging Face cache: `models--ORG--NAME/snapshots/COMMIT`, whose files are links.
 *
 * @param cache  directory of the cache, usually ~/.cache/huggingface/hub
 * @throws CheckpointError CHECKPOINT_NOT_FOUND if the model, the revision or part of its files is not there
 * @see https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
export function findInHubCache(id: ModelId, cache: string): string {
  const folder = join(cache, `models--${id.organization}--${id.name}`);
  if (!isDirectory(folder)) {
    throw notFound(id, `no such directory, nor such a model in the Hugging Face cache ${cache}`);
  }
  const snapshots = join(folder, "snapshots");
  const dir = join(snapshots, commitOf(id, folder));
  if (!isDirectory(dir)) {
    const others = isDirectory(snapshots) ? listNames(snapshots) : [];
    const hint =
      others.length === 0 ? "" : ` (there are ${others.slice(0, 5).map(shown).join(", ")})`;
    throw notFound(
      id,
      `the Hugging Face cache ${cache} has no revision ${shown(id.revision)} of it${hint}`,
    );
  }
  const missing = missingFile(dir);
  if (missing === undefined) return dir;
  const unfinished = countUnfinished(join(folder, "blobs"));
  const reason = unfinished === 0 ? "" : `, and ${unfinished} of its downloads did not finish`;
  throw notFound(
    id,
    `incomplete in the Hugging Face cache: ${join(dir, missing)} is missing${reason}`,
  );
}

function commitOf({ revision }: ModelId, folder: string): string {
  const path = join(folder, "refs", revision);
  if (!statPath(path)?.isFile()) return revision;
  const bytes = readRegularFile(path, refLimitBytes, "CHECKPOINT_NOT_FOUND");
  const commit = Buffer.from(bytes).toString("utf8").trim();
  if (commitPattern.test(commit)) return commit;
  throw new CheckpointError(
    "CHECKPOINT_NOT_FOUND",
    `${path}: expected a commit of 40 hexadecimal digits, got ${shown(commit)}; download the model again`,
  );
}

/** The name of something that a model or adapter needs and a download that was cut short has not brought. */
function missingFile(dir: string): string | undefined {
  const names = listNames(dir);
  const dangling = names.find((name) => statPath(join(dir, name)) === undefined);
  if (dangling !== undefined) return dangling;
  if (!names.some((name) => name === "config.json" || name === "adapter_config.json")) {
    return "config.json";
  }
  const index = "model.safetensors.index.json";
  if (names.includes(index)) {
    const { weight_map: map } = readJsonFile(join(dir, index), "CHECKPOINT_HEADER");
    const shards = isJsonObject(map) ? Object.values(map) : [];
    const shard = shards.find((file) => typeof file === "string" && !names.includes(file));
    return typeof shard === "string" ? shard : undefined;
  }
  const hasWeights = names.some((name) => /\.(safetensors|bin)$/.test(name));
  return hasWeights ? undefined : "model.safetensors";
}

function countUnfinished(blobs: string): number {
  if (!isDirectory(blobs)) return 0;
  return listNames(blobs).filter((name) => name.endsWith(".incomplete")).length;
}

function isDirectory(path: string): boolean {
  return statPath(path)?.isDirectory() ?? false;
}

function listNames(dir: string): readonly string[] {
  try {
    return readdirSync(dir).sort();
  } catch (cause) {
    throw unlistable(dir, cause);
  }
}

function notFound({ organization, name, revision }: ModelId, problem: string): CheckpointError {
  const id = `${organization}/${name}`;
  const [said, flag] =
    revision === "main" ? [id, ""] : [`${id}@${revision}`, ` --revision ${revision}`];
  return new CheckpointError(
    "CHECKPOINT_NOT_FOUND",
    `${said}: ${problem}; download it with \`hf download ${id}${flag}\`, or give a directory`,
  );
}

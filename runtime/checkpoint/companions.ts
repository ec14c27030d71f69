// The small files a model directory needs besides config and weights: tokenizer, code, licence, read-me.

import { copyFileSync, readdirSync, realpathSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { partialPath, writing } from "./atomic-file.ts";
import { makeDirectories } from "./directory.ts";
import { CheckpointError } from "./errors.ts";
import { isLfsPointer, readExactly, statPath, unlistable, withFile } from "./file-access.ts";

export type CompanionReport = {
  readonly copied: readonly string[];
  readonly skipped: readonly { readonly file: string; readonly reason: string }[];
};

/** No companion of a Qwen model passes a few MB; what is larger is most likely weights under another name. */
const sizeLimitBytes = 64 * 1024 * 1024;

const weightFile = /\.(safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|onnx)$|\.index\.json$/i;

/** Written anew for the quantized model. */
const replacedFiles = new Set(["config.json", "quantize_config.json", "quant_config.json"]);

/**
 * Names of all files of a model directory that belong to the model but are neither weights nor replaced by
 * quantization. Folders and hidden files are left out; links are followed, the Hugging Face cache is made of them.
 *
 * @throws CheckpointError CHECKPOINT_READ if the directory cannot be listed
 */
export function companionFiles(dir: string): readonly string[] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch (cause) {
    throw unlistable(dir, cause);
  }
  return names
    .filter((name) => !name.startsWith(".") && !weightFile.test(name) && !replacedFiles.has(name))
    .filter((name) => statPath(join(dir, name))?.isFile() ?? false)
    .sort();
}

/**
 * Makes sure, before hours of work, that every companion can be copied after it.
 *
 * @throws CheckpointError CHECKPOINT_READ naming a file or the directory that cannot be read
 */
export function requireReadableCompanions(dir: string): void {
  for (const file of companionFiles(dir)) withFile(join(dir, file), () => {});
}

/**
 * Copies the companions of a model, each whole or not at all.
 *
 * @param except  names of files to leave where they are
 * @returns what was copied, and what was not with the reason: more than 64 MiB, or a Git LFS pointer
 * @throws CheckpointError CHECKPOINT_READ, or CHECKPOINT_WRITE also if both directories are the same
 */
export function copyCompanions(
  from: string,
  to: string,
  except: ReadonlySet<string> = new Set(),
): CompanionReport {
  const files = companionFiles(from).filter((file) => !except.has(file));
  writing(to, () => makeDirectories(to));
  if (writing(to, () => realpathSync(from) === realpathSync(to))) {
    throw new CheckpointError(
      "CHECKPOINT_WRITE",
      `${resolve(to)}: output directory is the model directory itself; choose another`,
    );
  }
  const copied: string[] = [];
  const skipped: { file: string; reason: string }[] = [];
  for (const file of files) {
    const reason = reasonToSkip(join(from, file));
    if (reason === undefined) {
      copyAtomic(join(from, file), join(to, file));
      copied.push(file);
    } else {
      skipped.push({ file, reason });
    }
  }
  return { copied, skipped };
}

function reasonToSkip(path: string): string | undefined {
  return withFile(path, (fd, size) => {
    if (size > sizeLimitBytes) {
      return `${size} bytes, more than the ${sizeLimitBytes} copied; copy it by hand if it is needed`;
    }
    const head = new Uint8Array(Math.min(size, 64));
    readExactly(fd, head, 0, path);
    return isLfsPointer(head) ? "a Git LFS pointer, not the file; run `git lfs pull`" : undefined;
  });
}

/** `copyFileSync` follows links, so the copy stands on its own. */
function copyAtomic(from: string, to: string): void {
  const partial = partialPath(to);
  writing(to, () => {
    rmSync(partial, { force: true });
    try {
      copyFileSync(from, partial);
      renameSync(partial, to);
    } finally {
      rmSync(partial, { force: true });
    }
  });
}

// The files that the pages' commands name, small: each page runs as if its reader had them.
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pair, writeAdapter } from "../quantizer/adapters.ts";
import { repositoryPath } from "../support/shared.ts";

/** Model directories that pages begin with; all are the bundled model. */
const models = ["Qwen-1_8B-Chat", "Qwen-1_8B-Chat-finetuned", "Qwen-7B"] as const;

/**
 * Fills a directory for one page.
 *
 * @returns the environment to run its commands in: `nibble` is this build, and no cache of the machine is seen
 */
export function prepareReader(dir: string): NodeJS.ProcessEnv {
  for (const name of models) {
    cpSync(repositoryPath("examples", "qwen-mini"), join(dir, name), { recursive: true });
  }
  const layers = Array.from({ length: 8 }, (_, i) => `transformer.h.${i}.attn.c_attn`);
  const tensors = Object.assign({}, ...layers.map((layer) => pair(layer, [768, 256])));
  writeAdapter(join(dir, "output_qwen"), tensors);
  writeData(dir);
  const bin = join(dir, ".bin");
  mkdirSync(bin);
  const program = repositoryPath("dist", "cli", "main.js");
  writeFileSync(join(bin, "nibble"), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  chmodSync(join(bin, "nibble"), 0o755);
  const { PATH = "" } = process.env;
  return { ...process.env, PATH: `${bin}:${PATH}`, HF_HUB_CACHE: join(dir, ".cache") };
}

function writeData(dir: string): void {
  const lines = readFileSync(repositoryPath("examples", "calibration.jsonl"), "utf8").split("\n");
  const conversations = lines.filter((line) => line.includes('"conversations"')).slice(0, 12);
  const texts = lines.filter((line) => line.includes('"text"')).slice(0, 3);
  writeFileSync(join(dir, "conversations.json"), `[${conversations.join(",\n")}]`);
  writeFileSync(join(dir, "chats.jsonl"), `${conversations.join("\n")}\n`);
  writeFileSync(join(dir, "books.jsonl"), `${texts.join("\n")}\n`);
  const text = readFileSync(repositoryPath("examples", "evaluation.txt"), "utf8");
  writeFileSync(join(dir, "held-out.txt"), text.slice(0, 12_000));
}

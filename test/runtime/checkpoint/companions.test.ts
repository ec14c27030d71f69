import {
  chmodSync,
  existsSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import {
  companionFiles,
  copyCompanions,
  requireReadableCompanions,
} from "../../../runtime/checkpoint/index.ts";
import { repositoryPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

let from = "";
let to = "";
let made = 0;
beforeEach(() => {
  made += 1;
  from = join(directory.path, `from-${made}`);
  to = join(directory.path, `to-${made}`);
  mkdirSync(from);
});

const kept = [
  "LICENSE",
  "README.md",
  "cache_autogptq_cuda_256.cpp",
  "cache_autogptq_cuda_kernel_256.cu",
  "configuration_qwen.py",
  "generation_config.json",
  "qwen.tiktoken",
  "tokenizer_config.json",
];

const left = [
  ".gitattributes",
  ".model.safetensors.partial",
  "config.json",
  "quantize_config.json",
  "quant_config.json",
  "model.safetensors",
  "model-00001-of-00002.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
  "adapter.pt",
  "qwen.gguf",
];

function fill(): void {
  for (const name of [...kept, ...left]) writeFileSync(join(from, name), `content of ${name}`);
  mkdirSync(join(from, "assets"));
  mkdirSync(join(from, ".git"));
}

describe("companionFiles", () => {
  it("lists exactly the files that are neither weights, configs of the model, hidden nor folders", () => {
    fill();
    expect(companionFiles(from)).toEqual(kept);
  });

  it("finds the tokenizer of the bundled model", () => {
    expect(companionFiles(repositoryPath("examples/qwen-mini"))).toEqual([
      "generation_config.json",
      "qwen.tiktoken",
      "tokenizer_config.json",
    ]);
  });

  it("says so when the directory does not exist", () => {
    expect(refusal(() => companionFiles(join(from, "absent"))).code).toBe("CHECKPOINT_READ");
  });
});

describe("copyCompanions", () => {
  it("copies contents, creates the directory and leaves no temporary file", () => {
    fill();
    expect(copyCompanions(from, to)).toEqual({ copied: kept, skipped: [] });
    expect(readdirSync(to).sort()).toEqual([...kept].sort());
    expect(readFileSync(join(to, "LICENSE"), "utf8")).toBe("content of LICENSE");
  });

  it("copies what links lead to, and passes over links that lead nowhere", () => {
    writeFileSync(join(directory.path, "blob"), "tokens");
    symlinkSync("../blob", join(from, "qwen.tiktoken"));
    symlinkSync("../nowhere", join(from, "dangling.py"));
    expect(copyCompanions(from, to).copied).toEqual(["qwen.tiktoken"]);
    expect(lstatSync(join(to, "qwen.tiktoken")).isSymbolicLink()).toBe(false);
    expect(readFileSync(join(to, "qwen.tiktoken"), "utf8")).toBe("tokens");
  });

  it("replaces an older file instead of writing through a link in the output", () => {
    writeFileSync(join(from, "a.py"), "new");
    mkdirSync(to);
    const elsewhere = join(directory.path, `elsewhere-${made}`);
    writeFileSync(elsewhere, "precious");
    symlinkSync(elsewhere, join(to, "a.py"));
    copyCompanions(from, to);
    expect(readFileSync(join(to, "a.py"), "utf8")).toBe("new");
    expect(readFileSync(elsewhere, "utf8")).toBe("precious");
  });

  it("skips and reports files over 64 MiB and Git LFS pointers", () => {
    ftruncateSync(openSync(join(from, "big.dat"), "w"), 64 * 1024 * 1024 + 1);
    ftruncateSync(openSync(join(from, "fits.dat"), "w"), 64 * 1024 * 1024);
    writeFileSync(join(from, "qwen.tiktoken"), "version https://git-lfs.github.com/spec/v1\noid");
    const { copied, skipped } = copyCompanions(from, to);
    expect(copied).toEqual(["fits.dat"]);
    expect(skipped.map(({ file }) => file)).toEqual(["big.dat", "qwen.tiktoken"]);
    expect(skipped[1]?.reason).toContain("git lfs pull");
    expect(readdirSync(to)).toEqual(["fits.dat"]);
  });

  it("refuses to copy a directory onto itself, also through a link", () => {
    symlinkSync(from, to);
    expect(refusal(() => copyCompanions(from, to)).code).toBe("CHECKPOINT_WRITE");
    expect(refusal(() => copyCompanions(from, from)).code).toBe("CHECKPOINT_WRITE");
  });

  // Root reads everything.
  it.skipIf(process.getuid?.() === 0)("tells beforehand which companion cannot be read", () => {
    fill();
    requireReadableCompanions(from);
    chmodSync(join(from, "LICENSE"), 0);
    const { code, message } = refusal(() => requireReadableCompanions(from));
    expect(code).toBe("CHECKPOINT_READ");
    expect(message).toContain("LICENSE");
  });

  it("creates no output when the model directory does not exist", () => {
    expect(refusal(() => copyCompanions(join(from, "absent"), to)).code).toBe("CHECKPOINT_READ");
    expect(existsSync(to)).toBe(false);
  });
});

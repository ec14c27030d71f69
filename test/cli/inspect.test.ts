import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { code, dict, global, pickle, text, torchFileOf, tuple } from "../support/torch-file.ts";
import { mini, nibble } from "./support.ts";

describe("nibble inspect", () => {
  test("shows architecture, sizes, quantization and files", async () => {
    const { status, stdout, stderr } = await nibble(["inspect", mini]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    for (const text of ["QWenLMHeadModel", "8,923,392", "LogN on", "none", "qwen.tiktoken"]) {
      expect(stdout).toContain(text);
    }
    expect(stdout).not.toContain("transformer.h.0.");
  });

  test("--tensors lists every tensor", async () => {
    const { stdout } = await nibble(["inspect", mini, "--tensors"]);
    expect(stdout.match(/^transformer\.h\.\d+\./gm)).toHaveLength(64);
    expect(stdout).toMatch(/lm_head\.weight +BF16 +4096 × 256 +2\.1 MB +model-0000\d-of-00002/);
  });

  test("--json prints one object, with the tensors where asked for", async () => {
    const { stdout } = await nibble(["inspect", mini, "--json", "--tensors"]);
    const inspection = JSON.parse(stdout) as { tensors: unknown[] };
    expect(inspection).toMatchObject({ isComplete: true, quantization: null, tensorCount: 67 });
    expect(inspection.tensors).toHaveLength(67);
  });

  test("names what a pickle would run, in one line, and does not run it", async () => {
    const { path: dir, remove } = temporaryDirectory();
    const trace = join(dir, "was-run");
    const call = code(global("os", "system"), tuple(text(`touch ${trace}`)), "R");
    copyFileSync(join(mini, "config.json"), join(dir, "config.json"));
    writeFileSync(join(dir, "pytorch_model.bin"), torchFileOf(pickle(dict([["a", call]]))));
    const { status, stdout, stderr } = await nibble(["inspect", dir]);
    expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
    expect(stderr).toMatch(/^error: [^\n]*pytorch_model\.bin[^\n]*"os\.system"[^\n]*\n$/);
    expect(existsSync(trace)).toBe(false);
    remove();
  });
});

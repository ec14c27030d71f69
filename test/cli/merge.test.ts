import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pair, writeAdapter } from "../quantizer/adapters.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { mini, nibble, type Outcome } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const path = (name: string) => join(temporary.path, name);
const adapter = path("lora");

beforeAll(() => {
  const layers = Array.from({ length: 8 }, (_, i) => `transformer.h.${i}.attn.c_attn`);
  writeAdapter(adapter, Object.assign({}, ...layers.map((layer) => pair(layer, [768, 256]))));
});

/** One line that names something, and nothing written. */
function expectRefusal(outcome: Outcome, status: number, named: string): void {
  expect(outcome.status).toBe(status);
  expect(outcome.stdout).toBe("");
  expect(outcome.stderr).toMatch(/^error: [^\n]*\n$/);
  expect(outcome.stderr).toContain(named);
}

describe("nibble merge", () => {
  let outcome: Outcome;
  beforeAll(async () => {
    outcome = await nibble(["merge", mini, "--adapter", adapter, "-o", path("merged"), "--json"]);
  });

  test("--json prints what was merged, and the result generates", async () => {
    expect(outcome.status).toBe(0);
    const report = JSON.parse(outcome.stdout) as Record<string, unknown>;
    expect(report).toMatchObject({ output: path("merged"), source: mini, adapter });
    expect(report["changed"]).toHaveLength(8);
    const prompt = ["--prompt", "Once", "--max-new-tokens", "3", "--json"];
    expect(await nibble(["generate", path("merged"), ...prompt])).toMatchObject({ status: 0 });
  });

  test("gives the weights that quantize --adapter gives, when quantized", async () => {
    const flags = ["--method", "rtn", "--max-shard-size", "3MB", "-q"];
    const first = ["quantize", path("merged"), ...flags, "-o", path("afterwards")];
    const second = ["quantize", mini, "--adapter", adapter, ...flags, "-o", path("at-once")];
    expect(await nibble(first)).toMatchObject({ status: 0, stderr: "" });
    const atOnce = await nibble(second);
    expect(atOnce).toMatchObject({ status: 0, stderr: "" });
    expect(atOnce.stdout).toContain(adapter);
    const files = readdirSync(path("at-once")).filter((file) => !file.startsWith("report."));
    expect(files.filter((file) => file.endsWith(".safetensors")).length).toBeGreaterThan(1);
    for (const file of files) {
      const bytes = readFileSync(join(path("at-once"), file));
      expect(bytes.equals(readFileSync(join(path("afterwards"), file))), file).toBe(true);
    }
  });

  test("ends with 3 and names the reason where an adapter cannot be merged", async () => {
    writeAdapter(path("dora"), pair("lm_head", [4096, 256]), { use_dora: true });
    for (const command of [["merge"], ["quantize", "--method", "rtn"]]) {
      const args = [...command, mini, "--adapter", path("dora"), "-o", path("refused")];
      expectRefusal(await nibble(args), 3, "use_dora");
      expect(existsSync(path("refused"))).toBe(false);
    }
  });

  test("ends with 3 and names a directory that is no adapter", async () => {
    const args = ["merge", mini, "--adapter", mini, "-o", path("refused")];
    expectRefusal(await nibble(args), 3, "adapter_config.json");
  });

  test("ends with 2 where a flag is missing or the output is in use", async () => {
    mkdirSync(path("in-use"));
    writeFileSync(path("in-use/notes.txt"), "mine");
    expectRefusal(await nibble(["merge", mini, "-o", path("refused")]), 2, "--adapter");
    const args = ["merge", mini, "--adapter", adapter, "-o", path("in-use")];
    expectRefusal(await nibble(args), 2, "in-use");
    expect(readdirSync(path("in-use"))).toEqual(["notes.txt"]);
  });
});

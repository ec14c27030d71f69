import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { CommandLines, mini } from "./support.ts";

const temporary = temporaryDirectory();
const program = new CommandLines();
afterAll(() => {
  program[Symbol.dispose]();
  temporary.remove();
});
const at = (name: string) => join(temporary.path, name);

function recipe(text: string, name = "recipe.yaml"): string {
  writeFileSync(at(name), text);
  return at(name);
}

async function dryRun(file: string, args: readonly string[] = []) {
  const flags = ["--recipe", file, "-o", at("out"), "--dry-run", "--json", "-q"];
  const outcome = await program.run(["quantize", mini, ...flags, ...args]);
  expect(existsSync(at("out"))).toBe(false);
  return outcome;
}

describe("a recipe file", () => {
  const yaml = `
# a comment
bits: 8
group_size: 32
act-order: false
asym: true
zero-bias: false
damping: 5e-2
max-shard-size: 3MB
data: [example=2]
samples: 2
`;
  const expected = {
    ...{ bits: 8, groupSize: 32, order: "in-order", symmetric: false, zeroBias: false },
    ...{ damping: 0.05, maxShardBytes: 3_000_000 },
  };

  test("gives lists of overrides and skips", async () => {
    const rules = `
data: example
override: ["mlp.w?:bits=8", "h.0.*:bits=8,group_size=32"]
skip: h.7.attn.c_proj
`;
    const { status, stdout } = await dryRun(recipe(rules, "rules.yaml"));
    expect(status).toBe(0);
    expect(JSON.parse(stdout).recipe.rules).toEqual([
      { pattern: "h.7.attn.c_proj", skip: true },
      { pattern: "mlp.w?", bits: 8 },
      { pattern: "h.0.*", bits: 8, groupSize: 32 },
    ]);
  });

  test("in YAML gives the flags it names", async () => {
    const { status, stdout } = await dryRun(recipe(yaml));
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ recipe: expected, weightFiles: 5 });
  });

  test("in JSON gives the same", async () => {
    const json = JSON.stringify({
      ...{ bits: 8, "group-size": 32, act_order: false, asym: true, "zero-bias": false },
      ...{ damping: 0.05, "max-shard-size": "3MB", data: "example", samples: 2 },
    });
    const { stdout } = await dryRun(recipe(json, "recipe.json"));
    expect(JSON.parse(stdout)).toMatchObject({ recipe: expected });
  });

  test("gives way to the command line", async () => {
    const flags = ["--bits", "4", "--act-order", "dynamic", "--damping", "0.1"];
    const { stdout } = await dryRun(recipe(yaml), flags);
    expect(JSON.parse(stdout)).toMatchObject({
      recipe: { ...expected, bits: 4, order: "act-order", damping: 0.1 },
    });
  });

  test("may ask for act-order as flags do", async () => {
    for (const [value, order] of [
      ["true", "act-order-static"],
      ["dynamic", "act-order"],
      ["false", "in-order"],
    ]) {
      const { stdout } = await dryRun(recipe(`data: example\nsamples: 2\nact-order: ${value}\n`));
      expect(JSON.parse(stdout)).toMatchObject({ recipe: { order } });
    }
  });

  test.each([
    ["bitz: 4", "bitz"],
    ["bits: 5", "bits"],
    ["bits: [4]", "bits"],
    ["bits: {a: 4}", "bits"],
    ["bits: true", "bits"],
    ["asym: 1", "asym"],
    ["asym: 'yes'", "asym"],
    ["data: true", "data"],
    ["data: []", "data"],
    ["samples: many", "samples"],
    ["output: x", "output"],
    ["a: &x 1\nbits: *x", "alias"],
    ["bits: !!js/function 4", "YAML"],
    ["bits: 4\nbits: 8", "YAML"],
    ["{ bits: ", "YAML"],
    ["- bits", "expected flags"],
    ["", "expected flags"],
  ])("is refused with one line for %j", async (text, named) => {
    const { status, stderr, stdout } = await dryRun(recipe(text));
    expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
    expect(stderr).toMatch(/^error: [^\n]*recipe\.yaml[^\n]*\n$/);
    expect(stderr).toContain(named);
  });

  test("that is not there, or no text, is refused", async () => {
    writeFileSync(at("binary.yaml"), Buffer.from([0xff, 0xfe, 0x00]));
    for (const file of [at("none.yaml"), at("binary.yaml"), temporary.path]) {
      const { status, stderr } = await dryRun(file);
      expect(status).toBe(3);
      expect(stderr).toMatch(/^error: [^\n]*cannot be read[^\n]*\n$/);
    }
  });
});

describe("a dry run", () => {
  test("says what would be done, and which loaders would not take it", async () => {
    const flags = ["--data", "example", "--samples", "2", "-o", at("out"), "--dry-run"];
    const { status, stdout, stderr } = await program.run(["quantize", mini, ...flags, "--asym"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/would quantize 40 linears to 4\.\d\d bits/);
    expect(stdout).toContain("nothing was written");
    expect(stderr).toMatch(/will not load in vLLM[^\n]*asymmetric/);
    expect(stderr).toMatch(/will not load in AutoGPTQ[^\n]*gptq_v2/);
    expect(existsSync(at("out"))).toBe(false);
    const usual = await program.run(["quantize", mini, ...flags]);
    expect(usual.stderr).not.toContain("will not load");
  });

  test("refuses what a run would refuse", async () => {
    writeFileSync(at("full"), "");
    const flags = ["--data", "example", "--samples", "2", "--dry-run", "-q"];
    const output = await program.run(["quantize", mini, ...flags, "-o", at("full")]);
    expect(output).toMatchObject({ status: 2, stdout: "" });
    const adapter = ["--adapter", at("none"), "-o", at("out")];
    expect(await program.run(["quantize", mini, ...flags, ...adapter])).toMatchObject({
      status: 3,
    });
  });
});

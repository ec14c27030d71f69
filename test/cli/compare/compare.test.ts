import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Candidate, ComparedPrompt } from "../../../cli/compare/comparison.ts";
import { openDevice } from "../../../kernels/index.ts";
import { bundledSegments, quantize } from "../../quantizer/quantized.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { mini, nibble, object } from "../support.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const int4 = join(work.path, "int4");
beforeAll(async () => {
  using device = openDevice({ threads: 2 });
  const recipe = { method: "rtn", bits: 4 } as const;
  await quantize({ output: int4, segments: bundledSegments(1, 64), recipe, device });
});

const prompts = ["It was a dark night, and", "春天来了，"];
const given = prompts.flatMap((prompt) => ["--prompt", prompt]);
const compared = (result: Record<string, unknown>) => result["prompts"] as ComparedPrompt[];
const total = (all: readonly Candidate[], model: 0 | 1) =>
  all.reduce((sum, { probabilities }) => sum + probabilities[model], 0);

describe("nibble compare", () => {
  test("finds where a quantized copy parts, and what both think there", async () => {
    const result = object(
      await nibble(["compare", mini, int4, ...given, "--max-tokens", "48", "--json", "-q"]),
    );
    const all = compared(result);
    expect(result).toMatchObject({ models: [mini, int4], maxTokens: 48 });
    expect(all.map(({ prompt }) => prompt)).toEqual(prompts);
    const parted = all.filter(({ difference }) => difference !== null);
    expect(parted.length).toBeGreaterThan(0);
    expect(result["same"]).toBe(all.length - parted.length);
    for (const { outputs, commonText, commonTokens, difference } of parted) {
      const { candidates, chosen, position } = difference!;
      expect(position).toBe(commonTokens);
      for (const [i, output] of outputs.entries()) {
        expect(output.startsWith(`${commonText}${chosen[i]!.text}`)).toBe(true);
        // Greedy: a model's choice is its likeliest, and among the candidates.
        const best = Math.max(...candidates.map(({ probabilities }) => probabilities[i]!));
        expect(chosen[i]!.probabilities[i]).toBe(best);
      }
      expect(chosen[0].id).not.toBe(chosen[1].id);
      expect(candidates.length).toBeGreaterThanOrEqual(5);
      for (const model of [0, 1] as const) {
        expect(total(candidates, model)).toBeLessThanOrEqual(1);
        expect(total(candidates, model)).toBeGreaterThan(0.01);
      }
    }
  });

  test("writes what `generate --greedy` does", async () => {
    const [{ outputs } = { outputs: [] }] = compared(
      object(
        await nibble(["compare", mini, int4, "-p", prompts[1]!, "--max-tokens", "20", "--json"]),
      ),
    );
    for (const [i, model] of [mini, int4].entries()) {
      const flags = ["--greedy", "--max-new-tokens", "20", "--no-cache", "--json", "-q"];
      const alone = object(await nibble(["generate", model, "-p", prompts[1]!, ...flags]));
      expect(outputs[i]).toBe(alone["text"]);
    }
  });

  test("says that nothing differs between a model and its copy", async () => {
    const copy = join(work.path, "copy");
    cpSync(mini, copy, { recursive: true });
    const outcome = await nibble(["compare", mini, copy, ...given, "--max-tokens", "12", "-q"]);
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    expect(outcome.stdout.match(/^Nothing differs: 12 tokens in common\.$/gm)?.length).toBe(2);
    expect(outcome.stdout).toContain("Both models give the same output for all 2 prompts.");
    expect(outcome.stdout).not.toContain("next token");
  });

  test("asks as a user would with --chat, and takes conversations from a file", async () => {
    const file = join(work.path, "prompts.jsonl");
    const question = "Tom has 3 apples and buys 4 more. How many apples does he have?";
    const messages = [
      { role: "system", content: "You are a helpful assistant." },
      { role: "user", content: question },
    ];
    writeFileSync(file, `${JSON.stringify({ messages })}\n`);
    const args = ["compare", mini, mini, "--prompts", file, "--json", "-q", "--max-tokens", "60"];
    const [fromPrompt, fromFile] = compared(
      object(await nibble([...args, "--chat", "-p", question])),
    );
    expect(fromFile).toEqual(fromPrompt);
    expect(fromPrompt?.prompt).toBe(question);
    expect(fromPrompt?.outputs[0]).toMatch(/<\|im_end\|>$/);
  });

  const refusals: readonly [string, readonly string[], number, string][] = [
    ["no prompt", [mini, mini], 2, "--prompt"],
    ["an empty prompt", [mini, mini, "-p", ""], 2, "--prompt"],
    ["one model", [mini], 2, "missing"],
    ["no tokens wanted", [mini, mini, "-p", "a", "--max-tokens", "0"], 2, "--max-tokens"],
    ["more tokens than fit", [mini, mini, "-p", "a", "--max-tokens", "9999"], 3, "--max-tokens"],
    ["a file of prompts that is not there", [mini, mini, "--prompts", "no.jsonl"], 3, "no.jsonl"],
    ["a model that is not there", [mini, "./nowhere", "-p", "a"], 3, "nowhere"],
  ];
  test.each(refusals)("refuses %s", async (_, args, status, named) => {
    const outcome = await nibble(["compare", ...args]);
    expect(outcome).toMatchObject({ status, stdout: "" });
    expect(outcome.stderr).toMatch(/^error: [^\n]*\n$/);
    expect(outcome.stderr).toContain(named);
  });

  test("refuses models of different tokenizers, and a base model as a partner in a chat", async () => {
    const other = join(work.path, "other");
    cpSync(mini, other, { recursive: true });
    const file = join(other, "qwen.tiktoken");
    writeFileSync(file, readFileSync(file, "utf8").replace(/\n[^\n]+\n$/, "\n"));
    const refused = await nibble(["compare", mini, other, "-p", "a"]);
    expect(refused).toMatchObject({ status: 3, stdout: "" });
    expect(refused.stderr).toContain("is not the tokenizer");
    const base = join(work.path, "base");
    cpSync(mini, base, { recursive: true });
    const config = join(base, "generation_config.json");
    writeFileSync(config, readFileSync(config, "utf8").replace("chatml", "raw"));
    const alone = await nibble(["compare", mini, base, "-p", "a", "--chat"]);
    expect(alone).toMatchObject({ status: 2, stdout: "" });
    expect(alone.stderr).toContain("leave --chat out");
  });
});

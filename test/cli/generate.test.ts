import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { repositoryPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { mini, nibble, object } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());

describe("nibble generate", () => {
  const args = ["generate", mini, "--prompt", "It was a dark night, and"];

  test("prints the text alone on stdout, the same for the same seed", async () => {
    const sample = async (seed: string) =>
      (await nibble([...args, "--seed", seed, "--max-new-tokens", "20"])).stdout;
    const first = await sample("5");
    expect(first).toMatch(/\S/);
    expect(await sample("5")).toBe(first);
    expect(await sample("6")).not.toBe(first);
  });

  test("--json has what --greedy decoding with the model's own defaults gave", async () => {
    const result = object(await nibble([...args, "--greedy", "--max-new-tokens", "8", "--json"]));
    expect(result).toMatchObject({
      ...{ model: mini, finish: "length", tokens: 8, promptTokens: 7 },
      sampling: { temperature: 0, repetitionPenalty: 1, topP: 0.8 },
    });
    expect(result["peakMemoryBytes"]).toBeGreaterThan(30e6);
    expect(result["tokensPerSecond"]).toBeGreaterThan(0);
  });

  test("answers in a chat and ends at the end of the answer, without control tokens", async () => {
    const question = "Tom has 3 apples and buys 4 more. How many apples does he have?";
    const chat = ["generate", mini, "--chat", "--greedy", "--prompt", question, "--json"];
    const result = object(await nibble(chat));
    expect(result).toMatchObject({ finish: "stop" });
    expect(result["text"]).toMatch(/\d/);
    expect(result["text"]).not.toContain("<|");
  });

  test("ends before a --stop text", async () => {
    const whole = object(await nibble([...args, "--greedy", "--max-new-tokens", "30", "--json"]));
    const text = whole["text"] as string;
    const stop = text.slice(5, 9);
    const result = object(await nibble([...args, "--greedy", "--stop", stop, "--json"]));
    expect(result).toMatchObject({ finish: "stop", text: text.slice(0, text.indexOf(stop)) });
  });

  test("ends quietly when its reader has seen enough", async () => {
    const main = repositoryPath("dist", "cli", "main.js");
    const child = spawn(process.execPath, [main, ...args, "--max-new-tokens", "1500", "-q"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdout.once("data", () => child.stdout.destroy());
    const status = await new Promise((resolve) => child.on("close", resolve));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});

describe("nibble demo", () => {
  type Row = {
    readonly scheme: string;
    readonly fileBytes: number;
    readonly score: { readonly perplexity: number };
  };

  test("compares the original with int8, int4, and int4 with keys and values of 8 bits", {
    timeout: 300_000,
  }, async () => {
    const dir = join(temporary.path, "demo");
    const result = object(await nibble(["demo", "--keep", dir, "--json", "-q"]));
    const rows = result["models"] as Row[];
    expect(rows.map(({ scheme }) => scheme)).toEqual([
      ...["original", "int8 g128", "int4 g128", "int4, kv8"],
    ]);
    const perplexity = rows.map(({ score }) => score.perplexity);
    const bytes = rows.map(({ fileBytes }) => fileBytes);
    expect(bytes[2]).toBeLessThan(bytes[1]!);
    expect(bytes[1]).toBeLessThan(bytes[0]!);
    expect(perplexity[1]! / perplexity[0]!).toBeCloseTo(1, 3);
    expect(perplexity[2]! / perplexity[0]!).toBeLessThan(1.03);
    expect(perplexity[3]! / perplexity[2]!).toBeCloseTo(1, 3);
    expect(readdirSync(dir).sort()).toEqual(["int4", "int8"]);
  });
});

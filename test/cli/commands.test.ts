import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tableFromIPC } from "apache-arrow";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { calibrationText, evaluationText, mini, nibble, type Outcome, object } from "./support.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for them
const control = /[\u0000-\u0009\u000b-\u001f\u007f]/;
const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const quantized = join(temporary.path, "int4");

describe("nibble quantize", () => {
  let outcome: Outcome;
  const flags = ["--data", calibrationText, "--samples", "6", "--length", "128"];
  beforeAll(async () => {
    outcome = await nibble(["quantize", mini, ...flags, "-o", quantized, "--json"]);
  });

  test("--json prints the report and where the result lies", () => {
    const report = object(outcome);
    expect(report).toMatchObject({
      output: quantized,
      recipe: { bits: 4, groupSize: 128, method: "gptq" },
      calibration: { segments: 6 },
    });
    expect(report["linears"]).toHaveLength(40);
    expect(report["bitsPerWeight"]).toBeCloseTo(4.16, 2);
  });

  test("writes a model directory that generates", async () => {
    expect(readdirSync(quantized)).toEqual(
      expect.arrayContaining(["config.json", "model.safetensors", "qwen.tiktoken", "report.json"]),
    );
    const made = ["generate", quantized, "--prompt", "Once", "--max-new-tokens", "3", "--json"];
    expect(object(await nibble(made))["tokens"]).toBe(3);
  });

  test("takes a directory that holds nothing but what a killed run left, and removes that", async () => {
    const killed = join(temporary.path, "killed");
    mkdirSync(killed);
    writeFileSync(join(killed, ".model-00001-of-00009.safetensors.partial"), "half");
    expect(await nibble(["quantize", mini, ...flags, "-o", killed])).toMatchObject({ status: 0 });
    expect(readdirSync(killed).sort()).toEqual(readdirSync(quantized).sort());
  });

  test("says, and keeps in its report, which tensors the model has no use for", async () => {
    const source = join(temporary.path, "seven-layers");
    cpSync(mini, source, { recursive: true });
    const config = readFileSync(join(mini, "config.json"), "utf8");
    const fewer = config.replace('"num_hidden_layers": 8', '"num_hidden_layers": 7');
    writeFileSync(join(source, "config.json"), fewer);
    const out = join(temporary.path, "seven-layers-int4");
    const { stdout } = await nibble(["quantize", source, "--method", "rtn", "-o", out]);
    expect(stdout).toMatch(/left out +transformer\.h\.7\./);
    const report = JSON.parse(readFileSync(join(out, "report.json"), "utf8"));
    expect(report.unused).toHaveLength(8);
    const { stderr } = await nibble(["generate", source, "-p", "x", "--max-new-tokens", "1"]);
    expect(stderr).toContain("transformer.h.7.");
    expect(
      (await nibble(["generate", out, "-p", "x", "--max-new-tokens", "1"])).stderr,
    ).not.toContain("note:");
  });

  test("reports progress on a pipe in plain lines", () => {
    expect(outcome.stderr).toMatch(/^ *\d+ % {2}\S/m);
    expect(outcome.stderr).not.toMatch(control);
    expect(outcome.stderr.split("\n").length).toBeLessThan(25);
  });

  test("reports nothing with -q", async () => {
    const args = ["quantize", mini, ...flags, "-o", quantized, "--overwrite", "-q"];
    const { status, stdout, stderr } = await nibble(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain(quantized);
    expect(stdout).not.toMatch(control);
  });

  test("refuses a model that is quantized already, and says so", async () => {
    const again = join(temporary.path, "again");
    const { status, stderr } = await nibble(["quantize", quantized, ...flags, "-o", again]);
    expect(status).toBe(3);
    expect(stderr).toMatch(/quantized already/);
    expect(existsSync(again)).toBe(false);
  });

  test("takes the spelling of the config files, and writes the group size asked for", async () => {
    const dir = join(temporary.path, "rtn");
    const args = ["quantize", mini, "--method", "rtn", "--group_size", "32", "-o", dir];
    expect(await nibble(args)).toMatchObject({ status: 0 });
    const config = JSON.parse(readFileSync(join(dir, "quantize_config.json"), "utf8"));
    expect(config).toMatchObject({ bits: 4, group_size: 32 });
  });

  test.each([
    [[], "act-order-static"],
    [["--act-order"], "act-order-static"],
    [["--act-order", "dynamic"], "act-order"],
    [["--no-act-order"], "in-order"],
  ])("with %j rounds columns %s", async (order, expected) => {
    const args = ["quantize", mini, ...flags, "-o", quantized, "--overwrite", "--json", ...order];
    expect(object(await nibble(args))["recipe"]).toMatchObject({ order: expected });
  });

  test("stops on Ctrl-C with 130 and on SIGTERM with 143, says how to continue, and continues", async () => {
    const dir = join(temporary.path, "stopped");
    const whole = ["quantize", mini, "--data", calibrationText, "-o", dir];
    for (const [at, signal, expected] of [
      ["h.3", "SIGINT", 130],
      ["h.5", "SIGTERM", 143],
    ] as const) {
      const { status, stdout, stderr } = await nibble(whole, {
        onError: (text, kill) => {
          if (text.includes(at)) kill(signal);
        },
      });
      expect({ status, stdout }).toEqual({ status: expected, stdout: "" });
      expect(stderr).toMatch(/keeps what is done: the same command continues/);
      expect(readdirSync(dir).filter((name) => !name.startsWith("."))).toEqual([]);
    }
    const other = await nibble([...whole, "--bits", "8"]);
    expect(other.status).toBe(2);
    expect(other.stderr).toMatch(/bits was 4 and is 8.*--restart/s);
    const continued = await nibble(whole);
    expect(continued.status).toBe(0);
    expect(continued.stderr).toMatch(/continuing an interrupted run/);
    expect(readdirSync(dir).some((name) => name.startsWith("."))).toBe(false);
  });
});

describe("nibble evaluate", () => {
  test("ends with 3 on a text with nothing to predict, without blaming the window", async () => {
    const text = join(temporary.path, "empty.txt");
    writeFileSync(text, "");
    const { status, stderr } = await nibble(["evaluate", mini, "--data", text, "-q"]);
    expect({ status, blames: stderr.includes("--window") }).toEqual({ status: 3, blames: false });
  });

  const args = ["evaluate", mini, quantized, "--data", evaluationText, "--max-tokens", "1100"];

  test("--json gives the protocol, and differences against the first model", async () => {
    const result = object(await nibble([...args, "--json"]));
    expect(result["protocol"]).toEqual({
      data: evaluationText,
      ...{ window: 512, stride: 512, windows: 2 },
      ...{ textTokens: 1100, scoredTokens: 1022, droppedTokens: 76 },
    });
    const [first, second] = result["models"] as Record<string, number>[];
    expect(first).not.toHaveProperty("difference");
    expect(second!["difference"]).toBeCloseTo(second!["perplexity"]! - first!["perplexity"]!, 9);
    expect(second!["divergence"]).toMatchObject({ top1: expect.any(Number) });
  });

  test("scores with overlapping windows every token but the first, up to the tail", async () => {
    const result = object(await nibble([...args, "--stride", "256", "--json"]));
    expect(result["protocol"]).toMatchObject({
      ...{ windows: 3, scoredTokens: 1023, droppedTokens: 76 },
    });
  });

  test("prints the protocol and a row per model", async () => {
    const { stdout } = await nibble([...args, "-q"]);
    expect(stdout).toContain("windows of 512, no overlap; 1,022 tokens scored; tail of 76 dropped");
    const rows = stdout.trimEnd().split("\n").slice(-2);
    expect(rows[0]).toMatch(/qwen-mini +\d+\.\d{4}/);
    expect(rows[1]).toMatch(/int4 +\d+\.\d{4} +[+-]/);
  });

  test("--kv reads keys and values of an only model back from such a cache, or of all but the first", async () => {
    const text = ["--data", evaluationText, "--max-tokens", "600", "--json"];
    const run = async (...models: string[]) =>
      object(await nibble(["evaluate", ...models, ...text]));
    const exact = await run(mini);
    const alone = await run(mini, "--kv", "int8");
    const beside = await run(mini, mini, "--kv", "int8");
    const perplexities = (result: Record<string, unknown>) =>
      (result["models"] as { perplexity: number }[]).map(({ perplexity }) => perplexity);
    const [plain] = perplexities(exact);
    const [rounded] = perplexities(alone);
    expect(alone["protocol"]).toMatchObject({ kvCache: "int8" });
    expect(perplexities(beside)).toEqual([plain, rounded]);
    expect(rounded).not.toBe(plain);
    expect(Math.abs(rounded! / plain! - 1)).toBeLessThan(2e-3);
  });

  test("--save writes the losses whose mean is the result, and the tokens they belong to", async () => {
    const file = join(temporary.path, "tokens.arrow");
    const flags = [
      "--data",
      evaluationText,
      "--max-tokens",
      "80",
      "--window",
      "40",
      "--save",
      file,
    ];
    const result = object(await nibble(["evaluate", mini, mini, ...flags, "--json"]));
    const table = tableFromIPC(readFileSync(file));
    expect(table.numRows).toBe(78);
    expect(table.get(39)?.toJSON()).toMatchObject({ window: 1, position: 1, kl_2: 0 });
    const losses = [...(table.getChild("loss_1") ?? [])] as number[];
    const [first] = result["models"] as { loss: number }[];
    expect(losses.reduce((sum, loss) => sum + loss, 0) / 78).toBeCloseTo(first!.loss, 9);
    expect(table.schema.metadata.get("model_2")).toBe(mini);
  });

  test("--lengths compares NTK and LogN, which tell only beyond the trained length", async () => {
    const flags = ["--data", evaluationText, "--max-tokens", "1024", "--lengths", "512,1024"];
    const result = object(await nibble(["evaluate", mini, ...flags, "--json"]));
    expect(result["protocol"]).toMatchObject({
      lengths: [
        { length: 512, windows: 2, scoredTokens: 1022, droppedTokens: 0 },
        { length: 1024, windows: 1, scoredTokens: 1023, droppedTokens: 0 },
      ],
    });
    type Scored = { isConfigured: boolean; scores: { perplexity: number }[] };
    const [model] = result["models"] as [{ variants: Scored[] }];
    expect(model.variants.map(({ isConfigured }) => isConfigured)).toEqual([
      ...[false, false, false, true],
    ]);
    const [short, long] = [0, 1].map((i) =>
      model.variants.map(({ scores }) => scores[i]!.perplexity),
    );
    expect(new Set(short).size).toBe(1);
    expect(new Set(long).size).toBe(4);
    expect(long![3]).toBeLessThan(long![0]!);
  });

  test("--ntk and --logn override config.json for ordinary windows too", async () => {
    const long = ["evaluate", mini, "--data", evaluationText, "--max-tokens", "1024", "--json"];
    const perplexity = async (flags: readonly string[]) => {
      const result = object(await nibble([...long, "--window", "1024", ...flags]));
      return (result["models"] as { perplexity: number }[])[0]!.perplexity;
    };
    const on = await perplexity(["--ntk", "on", "--logn", "on"]);
    expect(await perplexity([])).toBe(on);
    expect(await perplexity(["--ntk", "off"])).toBeGreaterThan(on);
  });
});

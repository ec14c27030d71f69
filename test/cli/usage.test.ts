import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { CommandLines, calibrationText, evaluationText, mini, nibble } from "./support.ts";

const temporary = temporaryDirectory();
const program = new CommandLines();
afterAll(() => {
  program[Symbol.dispose]();
  temporary.remove();
});
const path = (name: string) => join(temporary.path, name);

writeFileSync(path("binary.txt"), new Uint8Array([0xff, 0xfe, 0x00]));
writeFileSync(path("short.txt"), "A short text.");
writeFileSync(path("rows.csv"), "a,b\n");
mkdirSync(path("full"));
writeFileSync(path("full/file"), "kept");
mkdirSync(path("not-a-model"));

/** The bundled model with one file rewritten. */
function variant(name: string, file: string, rewrite: (text: string) => string): void {
  cpSync(mini, path(name), { recursive: true });
  writeFileSync(path(`${name}/${file}`), rewrite(readFileSync(join(mini, file), "utf8")));
}
variant("large-tokenizer", "qwen.tiktoken", (text) => {
  const first = text.trim().split("\n").length;
  const more = Array.from({ length: 500 }, (_, i) => {
    return `${Buffer.from(`\u0001${i}`).toString("base64")} ${first + i}`;
  });
  return [text.trim(), ...more].join("\n");
});

const quantize = ["quantize", mini, "--data", calibrationText];
const evaluate = ["evaluate", mini, "--data", evaluationText];
const generate = ["generate", mini, "--prompt", "Once"];
const convert = ["convert", mini, "-o", path("out")];
const out = ["-o", path("out")];

describe("a wrong command line ends with 2 and one line that names", () => {
  test.each<[string, readonly string[], string]>([
    ["an unknown command, with the one meant", ["quantise"], "quantize"],
    ["an unknown flag, with the one meant", [...quantize, ...out, "--bit", "4"], "--bits"],
    ["a missing output", quantize, "--output"],
    ["a number of bits there is no format for", [...quantize, ...out, "--bits", "5"], "--bits"],
    [
      "a group size there is no kernel for",
      [...quantize, ...out, "--group-size", "96"],
      "--group-size",
    ],
    ["an override without settings", [...quantize, ...out, "--override", "mlp.w1"], "--override"],
    ["an override to 5 bits", [...quantize, ...out, "--override", "mlp.w1:bits=5"], "--override"],
    ["an override of another kind", [...quantize, ...out, "--override", "w1:sym=0"], "--override"],
    ["an override of nothing", [...quantize, ...out, "--override", ":bits=8"], "--override"],
    ["a pattern that matches no linear", [...quantize, ...out, "-q", "--skip", "h.99.*"], "h.99.*"],
    ["a pattern that is an expression", [...quantize, ...out, "--skip", "(a|b)"], "(a|b)"],
    ["samples that are no integer", [...quantize, ...out, "--samples", "1.5"], "--samples"],
    ["samples below 1", [...quantize, ...out, "--samples", "0"], "--samples"],
    ["segments longer than the model takes", [...quantize, ...out, "--length", "4096"], "--length"],
    ["an unknown head", [...generate, "--head", "half"], "--head"],
    ["guesses of nothing", [...generate, "--lookup", "0"], "--lookup"],
    ["activations of 4 bits", [...generate, "--activations", "int4"], "--activations"],
    ["a Hessian of f16", [...quantize, ...out, "--hessian-dtype", "f16"], "--hessian-dtype"],
    ["a bench of no rounds", ["bench", mini, "--rounds", "0"], "--rounds"],
    ["a bench longer than the model takes", ["bench", mini, "--prefill", "99999"], "99999"],
    ["damping above 1", [...quantize, ...out, "--damping", "7"], "--damping"],
    ["damping of 0", [...quantize, ...out, "--damping", "0"], "--damping"],
    ["a shard size of nothing", [...quantize, ...out, "--max-shard-size", "0"], "--max-shard-size"],
    ["an unknown order", [...quantize, ...out, "--act-order", "random"], "--act-order"],
    ["an order for rtn", [...quantize, ...out, "--method", "rtn", "--act-order"], "--act-order"],
    ["GPTAQ beyond the float model", [...quantize, ...out, "--gptaq", "2"], "--gptaq"],
    ["refining of something else", [...quantize, ...out, "--refine", "biases"], "--refine"],
    [
      "a grid of AutoGPTQ's that clips",
      [...quantize, ...out, "--recipe", "compat", "--grid", "mse"],
      "grid",
    ],
    [
      "signed scales with zeros",
      [...quantize, ...out, "--asym", "--signed-scales"],
      "signed scales",
    ],
    [
      "statistics beside data",
      [...quantize, ...out, "--statistics", "s.safetensors"],
      "--statistics",
    ],
    [
      "statistics for rtn",
      ["quantize", mini, ...out, "--statistics", "s", "--method", "rtn"],
      "rtn",
    ],
    [
      "statistics and GPTAQ",
      ["quantize", mini, ...out, "--statistics", "s", "--gptaq", "1"],
      "--gptaq 1",
    ],
    ["a budget and a width", [...quantize, ...out, "--target-bpw", "5", "--bits", "4"], "--bits"],
    [
      "statistics of another kind",
      ["calibrate", mini, "--data", calibrationText, "--statistics", "s.bin"],
      "--statistics",
    ],
    ["missing calibration data", ["quantize", mini, ...out], "--data"],
    ["an output with files in it", [...quantize, "-o", path("full")], "--overwrite"],
    ["an output that is a file", [...quantize, "-o", path("short.txt")], "--output"],
    ["an output inside the source", [...quantize, "-o", join(mini, "int4")], "--output"],
    ["the source as output", [...quantize, "-o", mini, "--overwrite"], "--output"],
    ["an output without a name", [...quantize, "-o", ""], "--output"],
    ["a model without a name", ["generate", "", "--prompt", "x"], "model"],
    ["a second model", [...quantize, ...out, mini], "argument"],
    ["a window of one token", [...evaluate, "--window", "1"], "--window"],
    ["a window longer than the model takes", [...evaluate, "--window", "4096"], "--window"],
    ["a stride that leaves tokens out", [...evaluate, "--stride", "513"], "--stride"],
    ["a length of one token", [...evaluate, "--lengths", "512,1"], "--lengths"],
    ["lengths with windows", [...evaluate, "--lengths", "512", "--window", "512"], "--window"],
    ["a table of another kind", [...evaluate, "--save", path("t.csv")], "--save"],
    ["a table without a place", [...evaluate, "--save", path("no/t.arrow")], "--save"],
    ["a table of lengths", [...evaluate, "--lengths", "512", "--save", "t.arrow"], "--save"],
    ["a comparison without lengths", [...evaluate, "--logn", "both"], "--logn"],
    ["a switch that is neither on nor off", [...evaluate, "--ntk", "maybe"], "--ntk"],
    [
      "a rehearsal with less memory than works",
      ["quantize", mini, "--method", "rtn", ...out, "--dry-run", "--memory", "10M"],
      "--memory",
    ],
    ["a plan without a model", ["plan"], "model"],
    [
      "a plan of longer segments than the model takes",
      ["plan", mini, "--length", "4096"],
      "--length",
    ],
    ["missing text", ["evaluate", mini], "--data"],
    ["a missing prompt", ["generate", mini], "--prompt"],
    ["an empty prompt", ["generate", mini, "--prompt", ""], "--prompt"],
    ["a probability above 1", [...generate, "--top-p", "2"], "--top-p"],
    ["a temperature that is no number", [...generate, "--temperature", "hot"], "--temperature"],
    [
      "a repetition penalty of 0",
      [...generate, "--repetition-penalty", "0"],
      "--repetition-penalty",
    ],
    ["a seed for greedy decoding", [...generate, "--greedy", "--seed", "3"], "--seed"],
    ["a system text without a chat", [...generate, "--system", "x"], "--system"],
    ["an empty stop", [...generate, "--stop", ""], "--stop"],
    ["more tokens than the model takes", [...generate, "--max-new-tokens", "2048"], "2048"],
    ["no thread", [...generate, "--threads", "0"], "--threads"],
    ["a seed beyond 2^53", [...generate, "--seed", "9007199254740993"], "9007199254740991"],
    ["a file for the demo", ["demo", "--keep", path("short.txt")], "--keep"],
    ["a format of a float result", [...convert, "--format", "gptq", "--dequantize"], "--format"],
    ["a format nobody knows", [...convert, "--format", "marlin"], "--format"],
    ["a converted model without a place", ["convert", mini], "--output"],
    ["the source as place of a converted model", ["convert", mini, "-o", mini], mini],
    ["a loader nobody knows", ["verify", mini, "--require", "ollama"], "--require"],
    ["an unknown control token", [...generate, "--allowed-special", "<|foo|>"], "<|foo|>"],
    [
      "no list of control tokens",
      [...evaluate, "--allowed-special", "im_end"],
      "--allowed-special",
    ],
    [
      "an unknown control token of calibration data",
      [...quantize, ...out, "--allowed-special", "<|foo|>"],
      "<|foo|>",
    ],
    ["a shell nobody completes in", ["completion", "tcsh"], "fish"],
    ["completion without a shell", ["completion"], "shell"],
    ["a directory in use for the demo", ["demo", "--keep", path("full")], "--keep"],
  ])("%s", async (_name, args, named) => {
    const { status, stdout, stderr } = await program.run(args);
    expect(stderr).toMatch(/^error: [^\n]*\n$/);
    expect(stderr).toContain(named);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(existsSync(path("out"))).toBe(false);
  });
});

describe("an unusable file ends with 3 and one line that names", () => {
  const nowhere = path("nowhere");
  test.each<[string, readonly string[], string]>([
    ["a missing model", ["generate", nowhere, "--prompt", "x"], nowhere],
    [
      "a directory without a model",
      ["generate", path("not-a-model"), "--prompt", "x"],
      "not-a-model",
    ],
    [
      "a missing model to quantize",
      ["quantize", nowhere, "--data", calibrationText, ...out],
      nowhere,
    ],
    ["missing calibration text", ["quantize", mini, "--data", nowhere, ...out], nowhere],
    [
      "calibration text of another kind",
      ["quantize", mini, "--data", path("rows.csv"), ...out],
      "rows.csv",
    ],
    ["a missing text", ["evaluate", mini, "--data", nowhere], nowhere],
    ["a text that is none", ["evaluate", mini, "--data", path("binary.txt")], "binary.txt"],
    ["a text that fills no window", ["evaluate", mini, "--data", path("short.txt")], "short.txt"],
    ["a text that fills no length", [...evaluate, "--lengths", "512,90000"], "--lengths"],
    [
      "a missing second model",
      ["evaluate", mini, nowhere, "--data", evaluationText],
      `${nowhere}: no such directory`,
    ],
    [
      "a tokenizer with more tokens than the model",
      ["generate", path("large-tokenizer"), "--prompt", "x"],
      "large-tokenizer/qwen.tiktoken",
    ],
    ["a model to verify that is not quantized", ["verify", mini], mini],
    ["a missing model to plan for", ["plan", nowhere], nowhere],
    ["a missing model to inspect", ["inspect", nowhere], nowhere],
    ["a missing model to convert", ["convert", nowhere, ...out], nowhere],
    ["a model to dequantize that is float", [...convert, "--dequantize"], mini],
  ])("%s", async (_name, args, named) => {
    const { status, stdout, stderr } = await program.run(args);
    expect(stderr).toMatch(/(^|\n)error: [^\n]*\n$/);
    expect(stderr).toContain(named);
    expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
    expect(existsSync(path("out"))).toBe(false);
  });
});

describe("help", () => {
  test.each([
    "quantize",
    "plan",
    "calibrate",
    "convert",
    "evaluate",
    "generate",
    "inspect",
    "verify",
    "doctor",
    "demo",
  ])("of %s goes to stdout, ends with 0 and fits 80 columns", async (command) => {
    const { status, stdout, stderr } = await program.run([command, "--help"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain(`Usage: nibble ${command}`);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  test("lists the exit codes", async () => {
    const { status, stdout } = await nibble(["--help"]);
    expect(status).toBe(0);
    for (const code of [0, 1, 2, 3, 130, 143])
      expect(stdout).toMatch(new RegExp(`^ {2}${code} `, "m"));
  });

  test("is what the bare program prints, to stderr and with 2", async () => {
    const { status, stdout, stderr } = await nibble([]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("Usage: nibble");
  });

  test("--version prints the package's version alone", async () => {
    const { status, stdout } = await nibble(["--version"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

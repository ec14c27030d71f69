import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { pair, writeAdapter } from "../quantizer/adapters.ts";
import { repositoryPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { CommandLines, calibrationText, mini } from "./support.ts";

const temporary = temporaryDirectory();
const program = new CommandLines();
afterAll(() => {
  program[Symbol.dispose]();
  temporary.remove();
});
const data = ["--data", calibrationText, "--samples", "12", "--length", "500"];

type Plan = {
  readonly tensorBytes: number;
  readonly bitsPerWeight: number;
  readonly memory: { readonly peak: number; readonly spilled: number; readonly limit: number };
  readonly disk: { readonly result: number; readonly temporary: number };
  readonly calibration: { readonly tokens: number };
  readonly phases: Readonly<Record<string, number>>;
  readonly tensorParallel: readonly { readonly size: number; readonly problem?: string }[];
};

async function planned(args: readonly string[]): Promise<Plan> {
  const { status, stdout, stderr } = await program.run(["plan", mini, ...args, "--json", "-q"]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as Plan;
}

/** Runs `quantize` and watches its largest resident size. */
async function quantized(args: readonly string[]) {
  const main = repositoryPath("dist", "cli", "main.js");
  const output = join(temporary.path, "out");
  const flags = ["quantize", mini, ...args, "-o", output, "--overwrite", "--json", "-q"];
  const child = spawn(process.execPath, [main, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  let peak = 0;
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      peak = Math.max(peak, 1024 * Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }, 20);
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  const status = await new Promise((resolve) => child.on("close", resolve));
  clearInterval(timer);
  expect(status).toBe(0);
  return { report: JSON.parse(stdout) as Plan & { readonly spilledBytes: number }, peak };
}

describe("nibble plan", () => {
  test.each([[[]], [["--bits", "8", "--group-size", "32", "--asym", "--no-zero-bias"]]])(
    "says the size of the result to the byte: %j",
    async (flags) => {
      const plan = await planned([...data, ...flags]);
      const { report } = await quantized([...data, ...flags]);
      expect(report.tensorBytes).toBe(plan.tensorBytes);
      expect(report.bitsPerWeight).toBe(plan.bitsPerWeight);
      expect(report.calibration.tokens).toBe(plan.calibration.tokens);
      expect(Object.keys(report.phases)).toEqual(Object.keys(plan.phases));
    },
  );

  test.each(["0", "0.5"])(
    "says what does not fit the memory, and the run stays within it (GPTAQ %s)",
    async (gptaq) => {
      const recipe = [...data, "--gptaq", gptaq];
      const { memory } = await planned([...recipe, "--memory", "10G"]);
      expect(memory.spilled).toBe(0);
      const limit = Math.round(memory.peak - 15e6);
      const flags = [...recipe, "--memory", `${limit}`];
      const plan = await planned(flags);
      const { report, peak } = await quantized(flags);
      expect(plan.memory.spilled).toBeGreaterThan(0);
      // A batch stays in memory or goes to the disk whole, so that a little more goes than was counted, of each model.
      expect(report.spilledBytes).toBeGreaterThanOrEqual(plan.memory.spilled);
      const batches = gptaq === "0" ? 1 : 3;
      expect(report.spilledBytes).toBeLessThan(
        plan.memory.spilled + batches * 4 * 2048 * (256 + 768),
      );
      expect(plan.disk).toEqual({ result: report.tensorBytes, temporary: plan.memory.spilled });
      if (process.platform === "linux") {
        expect(peak).toBeGreaterThan(0);
        expect(peak).toBeLessThan(limit);
      }
    },
  );

  test("needs no data, and names the least memory that works", async () => {
    const plan = await planned(["--samples", "10", "--length", "100"]);
    expect(plan.calibration.tokens).toBe(1000);
    expect(plan.tensorParallel.filter(({ problem }) => problem === undefined)).toEqual([
      { size: 1 },
      { size: 2 },
    ]);
    const refused = await program.run(["plan", mini, "--memory", "50M", "-q"]);
    expect(refused.status).toBe(2);
    const [, least = ""] = /--memory ([\d.]+GB)/.exec(refused.stderr) ?? [];
    await planned(["--memory", least]);
  });

  test("counts what an adapter adds, and refuses one that cannot be merged", async () => {
    const linear = pair("transformer.h.0.attn.c_attn", [768, 256]);
    const adapter = writeAdapter(join(temporary.path, "lora"), linear, {
      layers_to_transform: [0],
    });
    const { memory } = await planned([]);
    const adapted = await planned(["--adapter", adapter]);
    // Its file, the merged weight as BF16, and three copies as f32 on the way.
    const merged = 2 * 768 * 256;
    const file = 4 * 8 * (256 + 768);
    expect(adapted.memory.peak - memory.peak).toBe(file + 7 * merged);
    const foreign = writeAdapter(join(temporary.path, "ia3"), linear, { peft_type: "IA3" });
    const { status, stdout } = await program.run(["plan", mini, "--adapter", foreign, "-q"]);
    expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
  });

  test("shows it all as text", async () => {
    const { status, stdout } = await program.run(["plan", mini, "--bits", "8", "-q"]);
    expect(status).toBe(0);
    for (const field of ["result", "memory", "disk", "time", "GPUs in vLLM"]) {
      expect(stdout).toMatch(new RegExp(`^ {2}${field}`, "m"));
    }
  });
});

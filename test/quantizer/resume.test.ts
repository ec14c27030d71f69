// Runs that end in every way a process can end, and what the same call makes of it.
import { spawn } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import {
  hasInterruptedRun,
  parseRecipe,
  type QuantizationReport,
  type QuantizeOptions,
  quantizeModel,
  type Recipe,
} from "../../quantizer/index.ts";
import { seeded } from "../support/random.ts";
import { repositoryPath } from "../support/shared.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "nibble-resume-"));
});
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string) => join(root, name);

const segments = [0, 1, 2, 3].map((s) =>
  Int32Array.from({ length: 48 }, (_, i) => (s * 97 + i * 31) % 3888),
);

async function run(
  output: string,
  options: Partial<QuantizeOptions> & { readonly changes?: Partial<Recipe> } = {},
): Promise<QuantizationReport> {
  const { changes, ...rest } = options;
  using device = openDevice({ threads: 2 });
  return await quantizeModel({
    source: repositoryPath("examples/qwen-mini"),
    output: at(output),
    segments,
    recipe: parseRecipe({ maxShardBytes: 3_000_000, ...changes }),
    device,
    version: "test",
    ...rest,
  });
}

/** Stops a run when it comes to this share of the way. */
async function interrupt(output: string, share: number): Promise<void> {
  const controller = new AbortController();
  const stopped = run(output, {
    signal: controller.signal,
    onProgress: ({ fraction }) => {
      if (fraction >= share) controller.abort(new Error("enough"));
    },
  });
  await expect(stopped).rejects.toThrow("enough");
}

/** Every file but the report, which holds times. */
function filesOf(output: string): ReadonlyMap<string, string> {
  const names = readdirSync(at(output)).filter((name) => !name.startsWith("report."));
  return new Map(
    names.map((name) => [name, readFileSync(at(join(output, name))).toString("base64")]),
  );
}

describe("an interrupted run", () => {
  test.each([
    [0.1, 1],
    [0.5, 4],
    [0.9, 7],
  ])("stopped at %d of the way ends as if it had not been", async (share, blocks) => {
    if (!existsSync(at("whole"))) await run("whole");
    const output = `stopped-${share}`;
    await interrupt(output, share);
    expect(hasInterruptedRun(at(output))).toBe(true);
    expect(readdirSync(at(output)).filter((name) => !name.startsWith("."))).toEqual([]);
    let resumed = 0;
    const report = await run(output, {
      onResume: (pieces) => {
        resumed = pieces;
      },
    });
    // Three tensors and sixteen norms stay float; every block before the stopped one is done.
    expect(resumed).toBe(19 + blocks);
    expect(report.linears).toHaveLength(40);
    expect(new Set(report.linears.map(({ name }) => name)).size).toBe(40);
    expect(filesOf(output)).toEqual(filesOf("whole"));
  });

  test("is not continued with another recipe or other data, and says which", async () => {
    await interrupt("changed", 0.5);
    const resume = expect.objectContaining({ name: "QuantizeError", code: "QUANTIZE_RESUME" });
    await expect(run("changed", { changes: { bits: 8 } })).rejects.toThrow(resume);
    const other = run("changed", { segments: segments.slice(1), changes: { damping: 0.02 } });
    await expect(other).rejects.toThrow(
      /damping was 0\.05 and is 0\.02; it has other calibration data/,
    );
    expect(hasInterruptedRun(at("changed"))).toBe(true);
  });

  test("is forgotten on request", async () => {
    await interrupt("restarted", 0.5);
    let resumed = 0;
    await run("restarted", {
      onExisting: "restart",
      changes: { bits: 8 },
      onResume: (pieces) => {
        resumed = pieces;
      },
    });
    expect(resumed).toBe(0);
    expect(hasInterruptedRun(at("restarted"))).toBe(false);
  });

  test("goes on after a journal whose last line was cut off", async () => {
    if (!existsSync(at("whole"))) await run("whole");
    await interrupt("torn", 0.5);
    appendFileSync(at("torn/.nibble-journal.jsonl"), '{"done":"transformer.h.7","lin');
    await run("torn");
    expect(filesOf("torn")).toEqual(filesOf("whole"));
  });

  test("whose journal is damaged is refused until it is forgotten", async () => {
    await interrupt("damaged", 0.5);
    const journal = at("damaged/.nibble-journal.jsonl");
    const lines = readFileSync(journal, "utf8").split("\n");
    writeFileSync(journal, lines.with(3, "{").join("\n"));
    const resume = expect.objectContaining({ code: "QUANTIZE_RESUME" });
    await expect(run("damaged")).rejects.toThrow(resume);
    await run("damaged", { onExisting: "restart" });
    expect(hasInterruptedRun(at("damaged"))).toBe(false);
  });

  test("whose partial files are gone is refused, not continued with holes", async () => {
    await interrupt("holes", 0.5);
    for (const name of readdirSync(at("holes"))) {
      if (name.endsWith(".partial")) writeFileSync(at(join("holes", name)), "");
    }
    await expect(run("holes")).rejects.toThrow(
      expect.objectContaining({ code: "CHECKPOINT_WRITE" }),
    );
  });
});

const script = repositoryPath("dist/cli/main.js");
const command = [
  ...[script, "quantize", repositoryPath("examples/qwen-mini")],
  ...["--data", repositoryPath("examples/calibration.jsonl")],
  ...["--samples", "4", "--length", "64", "--max-shard-size", "3MB", "-q"],
];

/** Starts the program and kills it outright after some milliseconds, unless it ends before. */
function start(output: string, killAfterMs?: number): Promise<number | null> {
  const child = spawn(process.execPath, [...command, "-o", at(output)], { stdio: "ignore" });
  const timer = killAfterMs && setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  return new Promise((resolve) => {
    child.on("exit", (code) => {
      clearTimeout(timer);
      resolve(code);
    });
  });
}

/** Complete lines after the first; a program killed before it wrote that one leaves an empty file. */
function piecesDone(output: string): number {
  const path = at(join(output, ".nibble-journal.jsonl"));
  return existsSync(path) ? Math.max(0, readFileSync(path, "utf8").split("\n").length - 2) : 0;
}

/** The journal goes last: a program killed after that had done everything but exit. */
function isComplete(output: string): boolean {
  const index = at(join(output, "model.safetensors.index.json"));
  return existsSync(index) && !hasInterruptedRun(at(output));
}

test("a program killed twenty times at random moments ends with the same bytes", async () => {
  const started = performance.now();
  expect(await start("undisturbed")).toBe(0);
  const wholeMs = performance.now() - started;
  const random = seeded(7);
  let kills = 0;
  for (let round = 0; kills < 20; round++) {
    const output = `killed-${round}`;
    for (let before = 0; !isComplete(output); before = piecesDone(output)) {
      const code = await start(output, kills < 20 ? wholeMs * (0.3 + random()) : undefined);
      if (code !== null) expect(code).toBe(0);
      else kills++;
      // What a killed process had done stays done.
      if (hasInterruptedRun(at(output))) {
        expect(piecesDone(output)).toBeGreaterThanOrEqual(before);
      }
    }
    expect(filesOf(output)).toEqual(filesOf("undisturbed"));
  }
});

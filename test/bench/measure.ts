// Plans a quantization, runs it, and sets what was said beside what it took: resident memory at its peak, bytes, time by phase.
// Flags after the first two arguments go to both commands.
//
//   npx tsc -p tsconfig.json --outDir build/ts
//   node build/ts/test/bench/measure.js MODEL OUT --data SEGMENTS [--memory SIZE] …
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const samplingMilliseconds = 50;
const program = resolve("dist", "cli", "main.js");

type Phases = Readonly<Record<string, number>>;
type Plan = {
  readonly tensorBytes: number;
  readonly phases: Phases;
  readonly seconds: number;
  readonly memory: { readonly peak: number; readonly spilled: number };
};
type Report = {
  readonly tensorBytes: number;
  readonly phases: Phases;
  readonly seconds: number;
  readonly spilledBytes: number;
};

const [model = "", output = "", ...flags] = process.argv.slice(2);
if (output === "")
  throw new Error("usage: measure.js MODEL OUT --data SEGMENTS [flags of quantize]");
const planned = (await nibble<Plan>(["plan", model, ...flags])).result;
const { result: report, peak } = await nibble<Report>(["quantize", model, "-o", output, ...flags]);
row("", "planned", "taken");
row("peak resident, GB", gigabytes(planned.memory.peak), gigabytes(peak));
row("hidden states on disk, GB", gigabytes(planned.memory.spilled), gigabytes(report.spilledBytes));
row("tensors, bytes", `${planned.tensorBytes}`, `${report.tensorBytes}`);
for (const phase of Object.keys(report.phases)) {
  row(`${phase}, s`, seconds(planned.phases[phase]), seconds(report.phases[phase]));
}
row("in all, s", seconds(planned.seconds), seconds(report.seconds));

/** Runs a command of the built program and watches its largest resident size. */
async function nibble<Result>(
  command: readonly string[],
): Promise<{ readonly result: Result; readonly peak: number }> {
  const child = spawn(process.execPath, [program, ...command, "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, highWaterMark(child));
  }, samplingMilliseconds);
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  const status = await new Promise((done) => child.on("close", done));
  clearInterval(timer);
  if (status !== 0) throw new Error(`nibble ${command.join(" ")} ended with ${status}`);
  return { result: JSON.parse(stdout) as Result, peak };
}

/** Bytes, by Linux; 0 once the child has ended. */
function highWaterMark({ pid }: ChildProcess): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return 1024 * Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function row(...cells: readonly string[]): void {
  console.log(cells.map((cell, i) => (i === 0 ? cell.padEnd(28) : cell.padStart(14))).join(""));
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(2);
}

function seconds(value: number | undefined): string {
  return value?.toFixed(1) ?? "-";
}

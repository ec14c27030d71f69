// The whole tool on the bundled model: quantize, evaluate, generate, compare.

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { Segments } from "../calibration/index.ts";
import type { Device } from "../kernels/index.ts";
import { parseRecipe, type QuantizationReport, quantizeModel } from "../quantizer/index.ts";
import type { CacheDtype } from "../runtime/index.ts";
import { type CommonFlags, path } from "./arguments.ts";
import { loadSegments } from "./calibration-data.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { type DemoRow, renderSamples, renderTable } from "./demo-table.ts";
import { UsageError } from "./errors.ts";
import { describeProtocol, type Evaluation, evaluateModels } from "./evaluation.ts";
import { measureGeneration } from "./measure-generation.ts";
import { weightBytes } from "./quantize.ts";
import { plural, wrapText } from "./terminal/format.ts";
import { packageRoot, version } from "./version.ts";

type DemoFlags = CommonFlags & { readonly keep?: string };

type Limits = { readonly threads?: number; readonly device?: string };

export const demo: CommandSpec = {
  name: "demo",
  define: (command) => {
    command
      .description(
        "Quantize the bundled model to int8 and int4, and compare all three, and int4 with keys and values of 8 bits: size, perplexity, text, speed, memory.",
      )
      .option("--keep <dir>", "empty directory for the results instead of out/demo", path)
      .addHelpText("after", "\nThe results in out/demo are replaced by each run.\n");
  },
  run: runDemo,
};

const source = join(packageRoot, "examples", "qwen-mini");
const text = join(packageRoot, "examples", "evaluation.txt");
const defaultDir = join("out", "demo");
const window = 512;
const prompt = "It was a dark night, and";

async function runDemo(command: Command, context: CommandContext): Promise<void> {
  const { keep, threads, device } = command.opts<DemoFlags>();
  const found = keep === undefined ? undefined : statSync(keep, { throwIfNoEntry: false });
  if (found?.isDirectory() === false)
    throw new UsageError(`--keep ${keep} is a file; give a directory`);
  if (keep !== undefined && found !== undefined && readdirSync(keep).length > 0) {
    throw new UsageError(`--keep ${keep}: the directory is not empty; choose another`);
  }
  const dir = keep ?? defaultDir;
  const limits = { ...(threads && { threads }), ...(device && { device }) };
  const { variants, evaluation } = await compute(dir, context, limits);
  const rows: DemoRow[] = [];
  context.output.note("generating from each in a process of its own");
  for (const [i, { scheme, model, bitsPerWeight, kvCache }] of variants.entries()) {
    const score = evaluation.scores[i];
    if (score === undefined) continue;
    rows.push({
      ...{ scheme, model, score, bitsPerWeight },
      fileBytes: weightBytes(model),
      generation: await measureGeneration(model, {
        ...{ prompt, signal: context.signal },
        ...limits,
        ...(kvCache === undefined ? {} : { kv: kvCache }),
      }),
    });
  }
  const results = variants.slice(1, 3).map(({ model }) => model);
  const { output } = context;
  output.result({ protocol: evaluation.protocol, models: rows, output: dir }, () =>
    [
      renderSamples(rows, prompt, output),
      renderTable(rows, output.tableStyle),
      "",
      ...wrapText(about(evaluation), Math.min(output.width, 79)),
      "",
      `Results: ${results.join(" and ")}`,
      `Next:    nibble generate ${results[1]} --chat --prompt "What is 12 + 30?"`,
    ].join("\n"),
  );
}

function about(evaluation: Evaluation): string {
  const protocol = { ...evaluation.protocol, data: "examples/evaluation.txt" };
  return (
    `Perplexity, KL divergence and top-1 agreement: ${describeProtocol({ ...evaluation, protocol })}. ` +
    "kv8: keys and values of 8 bits. Speed and peak memory: 128 tokens one by one, each model in a process of its own, Node's share included."
  );
}

/** A row of the table. */
type Variant = {
  readonly scheme: string;
  readonly model: string;
  readonly bitsPerWeight: number;
  readonly kvCache?: CacheDtype;
};

type Computed = {
  readonly evaluation: Evaluation;
  /** Original, int8, int4, int4 with keys and values of 8 bits. */
  readonly variants: readonly Variant[];
};

/** Everything that runs in this process. Each part has a device of its own, so that no memory is carried over. */
async function compute(dir: string, context: CommandContext, limits: Limits): Promise<Computed> {
  const segments = await loadDemoSegments(limits);
  const variants: Variant[] = [{ scheme: "original", model: source, bitsPerWeight: 16 }];
  for (const bits of [8, 4] as const) {
    const model = join(dir, `int${bits}`);
    using device = openComputeDevice(limits);
    const { bitsPerWeight } = await quantizeTo(model, { bits, segments, device }, context);
    variants.push({ scheme: `int${bits} g128`, model, bitsPerWeight });
    if (bits === 4) variants.push({ scheme: "int4, kv8", model, bitsPerWeight, kvCache: "int8" });
  }
  using device = openComputeDevice(limits);
  const models = variants.map(({ model, kvCache }) => ({
    dir: model,
    ...(kvCache === undefined ? {} : { arithmetic: { kvCache } }),
  }));
  const request = { models, data: text, window, stride: window, maxTokens: undefined };
  const evaluation = await evaluateModels(
    { ...request, allowedSpecial: "all", longContext: {} },
    { ...context, device },
  );
  return { evaluation, variants };
}

async function loadDemoSegments(limits: Limits): Promise<Segments> {
  using device = openComputeDevice(limits);
  const request = { model: source, data: ["example"], samples: 128, length: window, seed: 0 };
  return await loadSegments({ ...request, tokens: "all", allowedSpecial: "all" }, device);
}

async function quantizeTo(
  dir: string,
  task: { readonly bits: 4 | 8; readonly segments: Segments; readonly device: Device },
  { output, signal }: CommandContext,
): Promise<QuantizationReport> {
  const { bits, segments, device } = task;
  const amount = `${plural(segments.ids.length, "segment")}, ${plural(segments.tokens, "token")}`;
  output.note(`quantizing to int${bits} on ${amount}`);
  using progress = output.progress(segments.tokens);
  return await quantizeModel({
    ...{ source, output: dir, device, signal, version, overwrite: true },
    segments: segments.ids,
    recipe: parseRecipe({ bits }),
    onProgress: ({ label, fraction }) => progress.update(`int${bits} ${label}`, fraction),
  });
}

// The models of an evaluation, as its result tells of them.
import { copyFileSync, existsSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { type Inspection, inspectCheckpoint } from "../../runtime/index.ts";
import { type GenerationMeasurement, measureGeneration } from "../measure-generation.ts";
import type { RunModel } from "../run-directory/format.ts";

export type NamedModel = {
  /** Fit for a file's name. */
  readonly name: string;
  readonly inspection: Inspection;
};

/** @throws CheckpointError as `inspectCheckpoint` does */
export function nameModels(dirs: readonly string[]): readonly NamedModel[] {
  const taken = new Set<string>();
  return dirs.map((dir) => {
    const base = basename(resolve(dir)).replace(/[^\p{L}\p{N}._-]/gu, "-");
    let name = base;
    for (let i = 2; taken.has(name); i++) name = `${base}-${i}`;
    taken.add(name);
    return { name, inspection: inspectCheckpoint(dir) };
  });
}

/** What tells one state of a model's weights from another, without reading them. */
export function fingerprint({ inspection }: NamedModel): readonly string[] {
  return weightFiles(inspection).map((file) => {
    const { size, mtimeMs } = statSync(file);
    return `${basename(file)} ${size} ${Math.round(mtimeMs)}`;
  });
}

/**
 * @param speeds  of each model, where they were measured
 * @param runDir  gets a copy of each model's report; undefined for no copies
 */
export function describeModels(
  models: readonly NamedModel[],
  speeds: readonly RunModel["speed"][],
  runDir: string | undefined,
): readonly RunModel[] {
  return models.map(({ name, inspection }, i) => ({
    ...{ name, dir: inspection.dir },
    weightBytes: weightFiles(inspection).reduce((sum, file) => sum + statSync(file).size, 0),
    bitsPerWeight: inspection.quantization?.bitsPerWeight ?? 16,
    scheme: schemeOf(inspection.quantization),
    quantizationReport: copyReport(name, inspection.dir, runDir),
    speed: speeds[i] ?? null,
  }));
}

/** What every model continues, so that speeds compare. */
const speedPrompt = "It was a dark night, and";

/** One model after the other, each in a process of its own, so that memory is the model's. */
export async function measureSpeeds(
  models: readonly NamedModel[],
  options: Pick<GenerationMeasurement, "threads" | "device" | "signal">,
): Promise<readonly RunModel["speed"][]> {
  const speeds: RunModel["speed"][] = [];
  for (const { inspection } of models) {
    const measured = await measureGeneration(inspection.dir, { prompt: speedPrompt, ...options });
    const { tokensPerSecond, peakMemoryBytes: peakBytes } = measured;
    speeds.push(tokensPerSecond === undefined ? null : { tokensPerSecond, peakBytes });
  }
  return speeds;
}

function weightFiles({ tensors }: Inspection): readonly string[] {
  return [...new Set(tensors.map(({ file }) => file))];
}

function schemeOf(quantization: Inspection["quantization"]): string | null {
  if (quantization === undefined) return null;
  const { bits, groupSize, sym, descAct, staticGroups, schemes } = quantization;
  const group = groupSize === -1 ? "one group per output" : `g${groupSize}`;
  const actOrder = staticGroups ? "act-order with static groups" : "act-order";
  return [
    `int${bits} ${group}`,
    ...(sym ? [] : ["asymmetric"]),
    ...(descAct ? [actOrder] : []),
    ...(schemes.length > 1 ? ["mixed"] : []),
  ].join(", ");
}

function copyReport(name: string, dir: string, runDir: string | undefined): string | null {
  const source = join(dir, "report.json");
  if (runDir === undefined || !existsSync(source)) return null;
  const copy = join("reports", `${name}.json`);
  copyFileSync(source, join(runDir, copy));
  return copy;
}

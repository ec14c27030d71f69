// Quantizing a few blocks of a large shape, by phase, and what a whole model would take by that.
//
//   node build/ts/test/gpu/quantize.js DIR SEGMENTS NAME

import { rmSync } from "node:fs";
import { readSegmentsFile } from "../../calibration/index.ts";
import { parseRecipe, quantizeModel } from "../../quantizer/index.ts";
import { openTried, recorder } from "./record.ts";

const [dir = "", segmentsFile = "", name = ""] = process.argv.slice(2);
const record = recorder("quantize", { continues: true });
const layersOf: Readonly<Record<string, number>> = { "1.8b": 24, "7b": 32, "14b": 40, "72b": 80 };

for (const preset of ["fast", "best"] as const) {
  const output = `${dir}-quantized`;
  rmSync(output, { recursive: true, force: true });
  using device = openTried();
  const started = performance.now();
  const report = await quantizeModel({
    ...{ source: dir, output, version: "gpu", device },
    ...{ segments: readSegmentsFile(segmentsFile).ids, recipe: parseRecipe({ bits: 4 }, preset) },
  });
  const seconds = (performance.now() - started) / 1000;
  // Each block has five linears.
  const blocks = report.linears.length / 5;
  record({
    ...{ name, preset, ...report.phases, seconds, "peak GB": device.memory().peak / 1e9 },
    "whole model, seconds": (seconds * (layersOf[name] ?? 0)) / Math.max(1, blocks),
  });
  rmSync(output, { recursive: true, force: true });
}

import { extname } from "node:path";
import type { Command } from "commander";
import { type Segments, writeSegmentsFile } from "../calibration/index.ts";
import type { Device } from "../kernels/index.ts";
import { type CollectedStatistics, collectStatistics } from "../quantizer/index.ts";
import { openModel, type Tokenizer } from "../runtime/index.ts";
import { type CommonFlags, integer, path } from "./arguments.ts";
import { loadSegments } from "./calibration-data.ts";
import { addDataFlags, type DataFlags, dataHelp } from "./calibration-flags.ts";
import { decodeSegment, renderCalibration, summarizeSegments } from "./calibration-summary.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { UsageError } from "./errors.ts";
import { modelDirectory } from "./model-directory.ts";
import { openTokenizer } from "./model-files.ts";

type CalibrateFlags = CommonFlags &
  DataFlags & {
    readonly output?: string;
    readonly statistics?: string;
    readonly preview?: number | boolean;
  };

export const calibrate: CommandSpec = {
  name: "calibrate",
  define: defineCalibrate,
  run: runCalibrate,
};

const previewedSegments = 2;

const examples = `
Examples:
  nibble calibrate Qwen-1_8B-Chat --data chats.jsonl --preview
  nibble calibrate Qwen-1_8B-Chat --data chats.jsonl --data books.parquet=0.3 \\
    --tokens assistant -o segments.safetensors
  nibble quantize Qwen-1_8B-Chat --data segments.safetensors -o my-Int4
  nibble calibrate Qwen-1_8B-Chat --data chats.jsonl \\
    --statistics stats.safetensors
  nibble quantize Qwen-1_8B-Chat --statistics stats.safetensors -o my-Int4
`;

function defineCalibrate(command: Command): void {
  command
    .description(
      "Show what calibration data would feed a model, without quantizing; or keep it, for quantize to use as it stands.",
    )
    .argument("<model>", "directory or model id, whose tokenizer counts", modelDirectory);
  addDataFlags(command);
  command
    .option(
      "--preview [n]",
      `also the text of the first segments, ${previewedSegments} by default, with the tokens that count marked`,
      integer(1),
    )
    .option("-o, --output <file>", "write the segments to a .safetensors file", path)
    .option(
      "--statistics <file>",
      "run the model on the segments and write the Hessians of all its linears to a .safetensors file, for quantize to use " +
        "again and again; four bytes times the square of each input width, halved",
      path,
    )
    .addHelpText("after", `${examples}${dataHelp}`);
}

async function runCalibrate(command: Command, context: CommandContext): Promise<void> {
  const { output } = context;
  const [model = ""] = command.processedArgs as string[];
  const flags = command.opts<CalibrateFlags>();
  if (flags.data === undefined)
    throw new UsageError("--data FILE is missing: what to calibrate on");
  for (const name of ["output", "statistics"] as const) {
    const file = flags[name];
    if (file === undefined || extname(file) === ".safetensors") continue;
    throw new UsageError(`--${name} ${file}: the name must end in .safetensors`);
  }
  using device = openComputeDevice(flags);
  using opened = openModel(model, device);
  using tokenizer = openTokenizer(opened);
  const segments = await loadSegments({ ...flags, model }, device);
  if (segments.note !== undefined) output.note(`note: ${segments.note}`);
  if (flags.output !== undefined) writeSegmentsFile(flags.output, segments);
  const collected =
    flags.statistics === undefined
      ? undefined
      : await collect({ source: model, output: flags.statistics, segments, device }, context);
  const summary = summarizeSegments(segments, tokenizer.vocabularySize);
  const previewed = flags.preview === true ? previewedSegments : Number(flags.preview ?? 0);
  const preview = previewOf(segments, tokenizer, previewed);
  output.result(
    {
      ...(flags.output === undefined ? {} : { output: flags.output }),
      ...(collected === undefined ? {} : { statistics: flags.statistics, ...collected }),
      ...summary,
      note: segments.note ?? null,
      ...(preview.length === 0 ? {} : { preview }),
    },
    () => {
      const text = renderCalibration(summary, preview, output);
      const written = [flags.output, flags.statistics].filter((file) => file !== undefined);
      return written.length === 0 ? text : `${text}\n\nwritten to ${written.join(" and ")}`;
    },
  );
}

async function collect(
  task: {
    readonly source: string;
    readonly output: string;
    readonly segments: Segments;
    readonly device: Device;
  },
  { output, signal }: CommandContext,
): Promise<CollectedStatistics> {
  const { ids, masks, tokens } = task.segments;
  using progress = output.progress(tokens);
  return await collectStatistics({
    ...{ ...task, segments: ids, masks, signal },
    onProgress: ({ label, fraction }) => progress.update(label, fraction),
  });
}

function previewOf({ ids, masks }: Segments, tokenizer: Tokenizer, count: number) {
  return ids.slice(0, count).map((segment, i) => decodeSegment(segment, masks?.[i], tokenizer));
}

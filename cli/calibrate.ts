import { extname } from "node:path";
import type { Command } from "commander";
import { type Segments, writeSegmentsFile } from "../calibration/index.ts";
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
  DataFlags & { readonly output?: string; readonly preview?: number | boolean };

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
    .addHelpText("after", `${examples}${dataHelp}`);
}

async function runCalibrate(command: Command, { output }: CommandContext): Promise<void> {
  const [model = ""] = command.processedArgs as string[];
  const flags = command.opts<CalibrateFlags>();
  if (flags.data === undefined)
    throw new UsageError("--data FILE is missing: what to calibrate on");
  if (flags.output !== undefined && extname(flags.output) !== ".safetensors") {
    throw new UsageError(`--output ${flags.output}: the name must end in .safetensors`);
  }
  using device = openComputeDevice(flags);
  using opened = openModel(model, device);
  using tokenizer = openTokenizer(opened);
  const segments = await loadSegments({ ...flags, model }, device);
  if (segments.note !== undefined) output.note(`note: ${segments.note}`);
  if (flags.output !== undefined) writeSegmentsFile(flags.output, segments);
  const summary = summarizeSegments(segments, tokenizer.vocabularySize);
  const previewed = flags.preview === true ? previewedSegments : Number(flags.preview ?? 0);
  const preview = previewOf(segments, tokenizer, previewed);
  output.result(
    {
      ...(flags.output === undefined ? {} : { output: flags.output }),
      ...summary,
      note: segments.note ?? null,
      ...(preview.length === 0 ? {} : { preview }),
    },
    () => {
      const text = renderCalibration(summary, preview, output);
      return flags.output === undefined ? text : `${text}\n\nwritten to ${flags.output}`;
    },
  );
}

function previewOf({ ids, masks }: Segments, tokenizer: Tokenizer, count: number) {
  return ids.slice(0, count).map((segment, i) => decodeSegment(segment, masks?.[i], tokenizer));
}

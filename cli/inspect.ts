import { basename } from "node:path";
import type { Command } from "commander";
import { type Inspection, inspectCheckpoint } from "../runtime/index.ts";
import type { CommonFlags } from "./arguments.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { modelDirectory } from "./model-directory.ts";
import { formatField } from "./terminal/field.ts";
import { formatBytes, formatCount, plural, printable } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { formatTable } from "./terminal/table.ts";

type InspectFlags = CommonFlags & { readonly tensors?: boolean };

export const inspect: CommandSpec = {
  name: "inspect",
  define: (command) => {
    command
      .description(
        "Shows what a model directory holds: architecture, sizes, quantization, files, and what is missing. Reads " +
          "headers only, so that it answers at once.",
      )
      .argument("<model>", "model directory or model id", modelDirectory)
      .option("--tensors", "also list every tensor with dtype, shape, size and file")
      .addHelpText("after", examples);
  },
  run: runInspect,
};

const examples = `
Examples:
  nibble inspect Qwen-1_8B-Chat-Int4
  nibble inspect Qwen-1_8B-Chat-Int4 --tensors
  nibble inspect Qwen-1_8B-Chat-Int4 --json | jq .quantization.bitsPerWeight
`;

async function runInspect(command: Command, { output }: CommandContext): Promise<void> {
  const [model = ""] = command.processedArgs as string[];
  const { tensors = false } = command.opts<InspectFlags>();
  const inspection = inspectCheckpoint(model);
  output.result(inspectionJson(inspection, tensors), () => {
    const summary = renderInspection(inspection, output);
    return tensors ? `${summary}\n\n${renderTensors(inspection, output)}` : summary;
  });
}

/** The object that --json prints; tensors only when asked for. */
export function inspectionJson(inspection: Inspection, withTensors: boolean): object {
  const { tensors, ...rest } = inspection;
  const rows = tensors.map(({ name, dtype, shape, begin, end, file }) => ({
    ...{ name, dtype, shape },
    bytes: end - begin,
    file: basename(file),
  }));
  return {
    ...rest,
    quantization: rest.quantization ?? null,
    tensorCount: tensors.length,
    tensorBytes: rows.reduce((sum, { bytes }) => sum + bytes, 0),
    isComplete: isComplete(inspection),
    ...(withTensors ? { tensors: rows } : {}),
  };
}

function isComplete({ missing, misshapen, hasTokenizer }: Inspection): boolean {
  return missing.length === 0 && misshapen.length === 0 && hasTokenizer;
}

/** @returns lines of "name  value" */
export function renderInspection(inspection: Inspection, { colors, tableStyle }: Output): string {
  const field = (name: string, value: string): string => formatField(name, value, 13, tableStyle);
  const { shape, dtypes, tensors, files } = inspection;
  const tensorBytes = dtypes.reduce((sum, { bytes }) => sum + bytes, 0);
  const shares = dtypes.map(({ dtype, bytes }) => `${dtype} ${formatBytes(bytes)}`);
  return [
    colors.bold(printable(inspection.dir)),
    field("architecture", inspection.architecture),
    field("parameters", formatCount(inspection.parameters)),
    field(
      "blocks",
      `${shape.layers}, width ${shape.hiddenSize}, ${shape.heads} heads of ${shape.headDim}, FFN ${shape.ffnSize}`,
    ),
    field("vocabulary", formatCount(shape.vocabSize)),
    field("context", describeContext(shape)),
    field("tensors", `${formatCount(tensors.length)}, ${formatBytes(tensorBytes)}`),
    field("by dtype", shares.join(", ")),
    field("quantization", describeQuantization(inspection.quantization)),
    field("complete", describeCompleteness(inspection)),
    ...listed("missing", inspection.missing, field),
    ...listed("wrong shape", inspection.misshapen, field),
    ...listed("unexpected", inspection.unexpected, field),
    ...files.map(({ name, bytes }, i) =>
      field(i === 0 ? "files" : "", `${name}, ${formatBytes(bytes)}`),
    ),
  ].join("\n");
}

function describeContext(shape: Inspection["shape"]): string {
  const state = (isOn: boolean) => (isOn ? "on" : "off");
  const beyond = `dynamic NTK ${state(shape.useDynamicNtk)}, LogN ${state(shape.useLogn)}`;
  return `trained on ${formatCount(shape.seqLength)} tokens; ${beyond}`;
}

function describeQuantization(quantization: Inspection["quantization"]): string {
  if (quantization === undefined) return "none";
  const { bits, groupSize, sym, descAct, checkpointFormat, bitsPerWeight } = quantization;
  return [
    `int${bits}`,
    groupSize === -1 ? "one group per output" : `groups of ${groupSize}`,
    sym ? "symmetric" : "asymmetric",
    descAct ? "act-order with dynamic groups (desc_act)" : "groups in column order",
    `format ${checkpointFormat}`,
    `${bitsPerWeight.toFixed(2)} bits per weight in ${plural(quantization.linears, "linear")}`,
  ].join(", ");
}

function describeCompleteness(inspection: Inspection): string {
  const { missing, misshapen, hasTokenizer, hasGenerationConfig } = inspection;
  const lacks = [
    ...(missing.length === 0 ? [] : [plural(missing.length, "tensor")]),
    ...(misshapen.length === 0 ? [] : [`${plural(misshapen.length, "tensor")} of another shape`]),
    ...(hasTokenizer ? [] : ["the tokenizer (qwen.tiktoken)"]),
    ...(hasGenerationConfig ? [] : ["generation_config.json (optional)"]),
  ];
  if (lacks.length === 0) return "yes";
  return `${isComplete(inspection) ? "yes" : "no"}; lacks ${lacks.join(", ")}`;
}

const listedCount = 5;

function listed(
  name: string,
  entries: readonly string[],
  field: (name: string, value: string) => string,
): readonly string[] {
  const shown = entries.slice(0, listedCount);
  const more = entries.length - shown.length;
  const lines = more > 0 ? [...shown, `and ${formatCount(more)} more (--json lists all)`] : shown;
  return lines.map((line, i) => field(i === 0 ? name : "", line));
}

function renderTensors({ tensors }: Inspection, { tableStyle }: Output): string {
  const rows = tensors.map(({ name, dtype, shape, begin, end, file }) => [
    printable(name),
    dtype,
    shape.join(" × "),
    formatBytes(end - begin),
    printable(basename(file)),
  ]);
  return formatTable(
    [
      { header: "tensor", align: "left" },
      { header: "dtype", align: "left" },
      { header: "shape", align: "right" },
      { header: "size", align: "right" },
      { header: "file", align: "left" },
    ],
    rows,
    tableStyle,
  );
}

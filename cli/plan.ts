import type { Command } from "commander";
import {
  type CalibrationExtent,
  calibrationExtent,
  type MemoryPlan,
  planMemory,
  planQuantization,
  type QuantizationPlan,
  type Recipe,
} from "../quantizer/index.ts";
import { openModel } from "../runtime/index.ts";
import { loadSegments, segmentLength } from "./calibration-data.ts";
import { dataHelp } from "./calibration-flags.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { memoryLimit } from "./memory.ts";
import { modelDirectory } from "./model-directory.ts";
import { weightBytes } from "./quantize.ts";
import { addRunFlags, optionsOf, type RunFlags, recipeOf } from "./quantize-flags.ts";
import { describeRecipe } from "./quantize-summary.ts";
import { describeLimits } from "./rehearsal-text.ts";
import { formatField } from "./terminal/field.ts";
import { formatBytes, formatCount, formatSeconds, plural } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { describeTensorParallel } from "./verify-text.ts";
import { version } from "./version.ts";

export const plan: CommandSpec = { name: "plan", define: definePlan, run: runPlan };

const examples = `
Takes the flags of quantize, reads headers only and writes nothing. Without
--data it counts on as much calibration text as --samples and --length ask for.
Times are estimated from a few seconds of trials on this machine, as if nothing
else ran on it; reading and writing files comes on top. The size of the result
is exact.

Examples:
  nibble plan Qwen-7B
  nibble plan Qwen-7B --bits 8 --samples 64 --length 1024 --memory 8G
  nibble plan Qwen-7B --data chats.json --json
`;

function definePlan(command: Command): void {
  command
    .description(
      "Say what quantizing a model would take: memory, disk and time; and what it would give.",
    )
    .argument("<model>", "float model: directory or model id", modelDirectory);
  addRunFlags(command);
  command.addHelpText("after", `${examples}${dataHelp}`);
}

async function runPlan(command: Command, { output }: CommandContext): Promise<void> {
  const [source = ""] = command.processedArgs as string[];
  const flags = optionsOf<RunFlags>(command);
  const recipe = recipeOf(flags);
  using device = openComputeDevice(flags);
  const segments = await loadSegments({ model: source, ...flags }, device);
  let calibration = calibrationExtent(segments.ids);
  if (flags.data === undefined) {
    using model = openModel(source, device);
    const longest = segmentLength(flags, model);
    calibration = { tokens: recipe.method === "rtn" ? 0 : flags.samples * longest, longest };
  }
  output.note("measuring this machine for a few seconds");
  const result = await planQuantization({
    ...{ source, recipe, calibration, device, version },
    adapter: flags.adapter,
  });
  const memory = planMemory(result.memory, memoryLimit(flags.memory));
  const { tensorBytes, phases } = result;
  const seconds = Object.values(phases).reduce((sum, phase) => sum + phase, 0);
  const disk = { result: tensorBytes, temporary: memory.spilled };
  output.result({ source, recipe, calibration, ...result, memory, disk, seconds }, () =>
    render(result, { recipe, calibration, memory, seconds, source, output }),
  );
}

function render(
  plan: QuantizationPlan,
  context: {
    readonly recipe: Recipe;
    readonly calibration: CalibrationExtent;
    readonly memory: MemoryPlan;
    readonly seconds: number;
    readonly source: string;
    readonly output: Output;
  },
): string {
  const { output, calibration, memory, seconds } = context;
  const { convert, forward, hessian, solve } = plan.phases;
  const field = (name: string, ...lines: readonly string[]) =>
    lines
      .map((line, i) => formatField(i === 0 ? name : "", line, 13, output.tableStyle))
      .join("\n");
  const spill = memory.spilled > 0;
  return [
    output.colors.bold(describeRecipe(context.recipe)),
    field(
      "result",
      `${formatBytes(plan.tensorBytes)} in ${plural(plan.weightFiles, "file")} (before: ${formatBytes(weightBytes(context.source))}), ` +
        `${plural(plan.linears, "linear")} at ${plan.bitsPerWeight.toFixed(2)} bits per weight`,
    ),
    field("calibration", `${formatCount(calibration.tokens)} tokens`),
    field(
      "memory",
      `about ${formatBytes(memory.peak)} at most` +
        (spill
          ? `, within ${formatBytes(memory.limit)}; ${formatBytes(memory.unlimitedPeak)} with every hidden state in memory`
          : ""),
    ),
    field(
      "disk",
      `${formatBytes(plan.tensorBytes)}` +
        (spill ? `, and ${formatBytes(memory.spilled)} of hidden states meanwhile` : ""),
    ),
    field(
      "time",
      `about ${formatSeconds(seconds)} on this machine`,
      `${formatSeconds(solve)} choosing codes, ${formatSeconds(hessian)} Hessians, ` +
        `${formatSeconds(forward)} running blocks, ${formatSeconds(convert)} other tensors`,
    ),
    ...describeLimits(plan.limits).map((line) => field("", line)),
    ...(plan.limits.some(({ loader }) => loader === "vllm")
      ? []
      : [field("GPUs in vLLM", describeTensorParallel(plan.tensorParallel))]),
  ].join("\n");
}

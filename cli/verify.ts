import { type Command, InvalidArgumentError } from "commander";
import type { Device } from "../kernels/index.ts";
import {
  CheckpointError,
  checkLoaders,
  compareWithSource,
  findForeignFloats,
  findNonFinite,
  type LinearComparison,
  type LoaderCheck,
  loadEveryBlock,
  loaderNames,
  type Verdict,
} from "../runtime/index.ts";
import type { CommonFlags } from "./arguments.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { openComputeDevice } from "./compute-device.ts";
import { NegativeOutcome } from "./errors.ts";
import { modelDirectory } from "./model-directory.ts";
import { plural } from "./terminal/format.ts";
import { renderVerification } from "./verify-text.ts";
import { version } from "./version.ts";

type VerifyFlags = CommonFlags & {
  readonly source?: string;
  readonly require?: readonly string[];
};

export type Verification = LoaderCheck & {
  /** Undefined without --source, or where the model does not even load. */
  readonly comparison: readonly LinearComparison[] | undefined;
  /** Float tensors that are not the source's; empty without --source. */
  readonly foreign: readonly string[];
  readonly required: readonly string[];
  /** Why the directory does not pass; empty if it does. */
  readonly faults: readonly string[];
};

export const verify: CommandSpec = {
  name: "verify",
  define: (command) => {
    command
      .description(
        "Checks a quantized model: loads it, and judges by the rules of vLLM, transformers with GPTQModel and " +
          "AutoGPTQ whether they would. With --source, compares dequantized weights with the float model's.",
      )
      .argument("<model>", "directory or model id: the quantized model", modelDirectory)
      .option("--source <dir>", "the float model it was made of", modelDirectory)
      .option(
        "--require <loader>",
        `fail also if this one refuses for want of support: ${loaderNames.join(", ")}; may be repeated`,
        loaderList,
      )
      .addHelpText("after", examples);
  },
  run: runVerify,
};

const examples = `
The rules are simulated; none of those programs is run. Each broken rule is
named and is one of
  defect  the directory contradicts itself or the format
  limit   in order, but this loader does not do it (asymmetric in vLLM, say)
  advice  loads, but something is to be added or runs slower
Ends with 1 on any defect, if the weights are not those of the source, or if a
loader named with --require refuses; a limit alone is no failure.

Examples:
  nibble verify Qwen-1_8B-Chat-Int4
  nibble verify Qwen-1_8B-Chat-Int4 --source Qwen-1_8B-Chat
  nibble verify Qwen-1_8B-Chat-Int4 --require vllm --json
`;

function loaderList(text: string, earlier: readonly string[] | undefined): readonly string[] {
  if (loaderNames.some((name) => name === text)) return [...(earlier ?? []), text];
  throw new InvalidArgumentError(`Expected one of ${loaderNames.join(", ")}.`);
}

async function runVerify(command: Command, { output }: CommandContext): Promise<void> {
  const [model = ""] = command.processedArgs as string[];
  const flags = command.opts<VerifyFlags>();
  const { source, require: required = [] } = flags;
  const check = checkLoaders(model);
  using device = openComputeDevice(flags);
  const own = await judgeOwn(model, device);
  const canCompare = source !== undefined && own.outcome !== "refuses";
  const comparison = canCompare ? await compareWithSource(model, source, device) : undefined;
  const foreign = canCompare ? await findForeignFloats(model, source, device) : [];
  const verdicts = [own, ...check.verdicts];
  const faults = [
    ...findFaults(verdicts, comparison, required),
    ...foreign.map((name) => `${name} does not hold the source's values`),
  ];
  const verification = { ...check, verdicts, comparison, foreign, required, faults };
  output.result({ passes: faults.length === 0, ...verification }, () =>
    renderVerification(verification, output),
  );
  if (faults.length > 0) throw new NegativeOutcome();
}

/** This program needs no simulation. */
async function judgeOwn(model: string, device: Device): Promise<Verdict> {
  const finding = await firstFinding(model, device);
  return {
    ...{ loader: "nibble", title: `Nibble ${version}` },
    outcome: finding === undefined ? "accepts" : "refuses",
    findings: finding === undefined ? [] : [finding],
  };
}

async function firstFinding(
  model: string,
  device: Device,
): Promise<Verdict["findings"][number] | undefined> {
  try {
    loadEveryBlock(model, device);
    const violations = (await findNonFinite(model, device)).map(
      ({ name, count }) => `${name} holds ${plural(count, "value")} that are NaN or infinite`,
    );
    const reason = "weights, scales and biases have to be finite numbers";
    return violations.length === 0
      ? undefined
      : { id: "finite", kind: "defect", reason, violations };
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    const kind = error.code === "CHECKPOINT_UNSUPPORTED" ? "limit" : "defect";
    return { id: "loads", kind, reason: "has to load", violations: [error.message] };
  }
}

/** @returns one line per reason why the directory does not pass */
export function findFaults(
  verdicts: readonly Verdict[],
  comparison: readonly LinearComparison[] | undefined,
  required: readonly string[],
): readonly string[] {
  const broken = verdicts.flatMap(({ findings }) =>
    findings.filter(({ kind }) => kind === "defect"),
  );
  const wanted = verdicts.filter(
    ({ loader, outcome }) => required.includes(loader) && outcome === "refuses",
  );
  const foreign = comparison?.filter(({ isPlausible }) => !isPlausible) ?? [];
  return [
    ...[...new Set(broken.map(({ id }) => id))].map((id) => `rule ${id} is broken`),
    ...wanted.map(({ loader }) => `${loader} is required and refuses`),
    ...foreign.map(({ name }) => `${name} does not hold the source's weights`),
  ];
}

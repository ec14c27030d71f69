import { availableParallelism, cpus, freemem, release, totalmem } from "node:os";
import type { Command } from "commander";
import {
  type CudaDevice,
  candidates,
  cpuFeatures,
  cudaDevices,
  type Isa,
  isaLevels,
  type OperationCandidates,
  openCudaDevice,
} from "../kernels/index.ts";
import { openModel, packedCacheFiles } from "../runtime/index.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { cudaLibraries, openComputeDevice, usedIsa } from "./compute-device.ts";
import { NegativeOutcome } from "./errors.ts";
import { modelDirectory } from "./model-directory.ts";
import { formatField } from "./terminal/field.ts";
import { formatBytes, plural } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { formatTable } from "./terminal/table.ts";
import { version } from "./version.ts";
import { weightCacheDirectory } from "./weight-cache.ts";

export const doctor: CommandSpec = {
  name: "doctor",
  define: (command) => {
    command
      .description(
        "Tells what this machine has and what would run on it: versions, processor, the implementation of each " +
          "operation, and whether a model opens. With --json, what to attach to a bug report.",
      )
      .argument("[model]", "model directory to try to open, or model id", modelDirectory)
      .addHelpText("after", examples);
  },
  run: runDoctor,
};

const examples = `
Ends with 1 if the native kernels do not load or the model does not open.

Examples:
  nibble doctor
  nibble doctor Qwen-1_8B-Chat-Int4
  nibble doctor --json > report.json
`;

/** Something tried: what it gave, or the reason why not. */
type Attempt<Result> = (Result & { readonly works: true }) | Failed;
type Failed = { readonly works: false; readonly problem: string };

type OperationChoice = {
  readonly operation: string;
  /** Undefined where no implementation is allowed. */
  readonly uses: string | undefined;
  /** Faster ones that cannot run here. */
  readonly declined: readonly { readonly name: string; readonly reason: string }[];
};

type WeightCache = { readonly models: number; readonly bytes: number };

type Kernels = {
  readonly level: Isa;
  readonly features: readonly string[];
  readonly operations: readonly OperationChoice[];
};

type Gpus = {
  readonly devices: readonly CudaDevice[];
  /** NVIDIA's own that quantizing uses, or why the GPU does not open with those that were named; empty for none. */
  readonly libraries: Attempt<{ readonly names: string }>;
};

export type Diagnosis = {
  readonly versions: Readonly<Record<"nibble" | "node" | "platform" | "system", string>>;
  readonly processor: { readonly model: string; readonly threads: number };
  readonly memory: { readonly total: number; readonly free: number };
  readonly kernels: Attempt<Kernels>;
  readonly gpu: Attempt<Gpus>;
  /** Packed weights that are kept for a faster start. */
  readonly cache: { readonly directory: string } & Attempt<WeightCache>;
  readonly model?: { readonly dir: string } & Attempt<{ readonly extent: string }>;
};

async function runDoctor(command: Command, { output }: CommandContext): Promise<void> {
  const [model] = command.processedArgs as (string | undefined)[];
  const diagnosis = diagnose(model);
  output.result(diagnosis, () => renderDiagnosis(diagnosis, output));
  if (!diagnosis.kernels.works || diagnosis.model?.works === false) throw new NegativeOutcome();
}

function diagnose(model: string | undefined): Diagnosis {
  const directory = weightCacheDirectory();
  return {
    versions: {
      nibble: version,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      system: release(),
    },
    processor: {
      model: cpus()[0]?.model.trim() ?? "unknown",
      threads: availableParallelism(),
    },
    memory: { total: totalmem(), free: freemem() },
    kernels: attempt(examineKernels),
    gpu: attempt(examineGpus),
    cache: { directory, ...attempt(() => examineCache(directory)) },
    ...(model === undefined ? {} : { model: { dir: model, ...attempt(() => tryModel(model)) } }),
  };
}

function attempt<Result>(action: () => Result): Attempt<Result> {
  try {
    return { ...action(), works: true };
  } catch (error) {
    return { works: false, problem: error instanceof Error ? error.message : String(error) };
  }
}

function examineCache(directory: string): WeightCache {
  const files = packedCacheFiles(directory);
  return { models: files.length, bytes: files.reduce((sum, file) => sum + file.bytes, 0) };
}

/** What --device cuda could open. */
function examineGpus(): Gpus {
  const options = cudaLibraries();
  const devices = cudaDevices(options.library);
  const libraries = attempt(() => {
    if (devices.length === 0) return { names: "" };
    using device = openCudaDevice(options);
    return { names: device.vendorLibraries };
  });
  return { devices, libraries };
}

function describeGpus(gpu: Diagnosis["gpu"]): string {
  if (!gpu.works) return `none: ${gpu.problem}`;
  if (gpu.devices.length === 0) return "none found";
  const devices = gpu.devices
    .map(
      ({ name, memory, capability }, i) =>
        `${name}, ${formatBytes(memory)}, compute capability ${capability} (--device cuda:${i})`,
    )
    .join("; ");
  const { libraries } = gpu;
  if (!libraries.works) return `${devices}; ${libraries.problem}`;
  const { names } = libraries;
  return `${devices}; ${names === "" ? "without cuBLASLt and cuSOLVER" : `with ${names}`}`;
}

function describeCache({ cache }: Diagnosis): string {
  if (!cache.works) return cache.problem;
  if (cache.models === 0) return `${cache.directory}: empty`;
  const extent = `${formatBytes(cache.bytes)} of ${plural(cache.models, "model")}`;
  return `${cache.directory}: ${extent}; may be deleted`;
}

function examineKernels(): Kernels {
  const level = usedIsa();
  return {
    level,
    features: cpuFeatures(),
    operations: candidates().map((operation) => choose(operation, level)),
  };
}

/** @param level  what is computed with: what the processor has, or less where NIBBLE_ISA says so */
export function choose(operation: OperationCandidates, level: Isa): OperationChoice {
  const limit = isaLevels.indexOf(level);
  const chosen = operation.candidates.findIndex(
    ({ isAllowed, needs }) => isAllowed && isaLevels.indexOf(needs) <= limit,
  );
  const faster = chosen < 0 ? operation.candidates : operation.candidates.slice(0, chosen);
  return {
    operation: operation.operation,
    uses: operation.candidates[chosen]?.name,
    declined: faster.map(({ name, needs, isAllowed }) => ({
      name,
      reason: isAllowed
        ? `needs ${needs}, NIBBLE_ISA allows ${level}`
        : `needs ${needs}, this processor has ${level}`,
    })),
  };
}

/** Opens the model as a run would, up to its first block: weights are mapped, not read. */
function tryModel(dir: string): { readonly extent: string } {
  using device = openComputeDevice({ threads: 1 });
  using model = openModel(dir, device);
  using block = model.loadBlock(0);
  const { layers, width } = model.shape;
  return { extent: `${plural(layers, "block")} of width ${width}, ${block.name} loaded` };
}

export function renderDiagnosis(diagnosis: Diagnosis, output: Output): string {
  const field = (name: string, value: string): string =>
    formatField(name, value, 10, output.tableStyle);
  const { versions, processor, memory, kernels, model } = diagnosis;
  return [
    output.colors.bold(`nibble ${versions.nibble}`),
    field("node", `${versions.node} on ${versions.platform} (${versions.system})`),
    field("processor", `${processor.model}, ${plural(processor.threads, "thread")}`),
    field("memory", `${formatBytes(memory.total)}, ${formatBytes(memory.free)} free`),
    field("kernels", kernels.works ? `load; level ${kernels.level}` : kernels.problem),
    ...(kernels.works ? [field("features", kernels.features.join(", ") || "none used")] : []),
    field("GPU", describeGpus(diagnosis.gpu)),
    field("cache", describeCache(diagnosis)),
    ...(model === undefined
      ? []
      : [field("model", model.works ? `${model.dir}: opens, ${model.extent}` : model.problem)]),
    ...(kernels.works ? ["", renderOperations(kernels.operations, output)] : []),
  ].join("\n");
}

function renderOperations(operations: readonly OperationChoice[], { tableStyle }: Output): string {
  const rows = operations.map(({ operation, uses = "none", declined }) => [
    operation,
    uses,
    declined.map(({ name, reason }) => `${name} (${reason})`).join(", ") || "-",
  ]);
  return formatTable(
    [
      { header: "operation", align: "left" },
      { header: "uses", align: "left" },
      { header: "faster, but declined", align: "left" },
    ],
    rows,
    tableStyle,
  );
}

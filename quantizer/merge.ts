// A float model with an adapter's changes in its weights, as a checkpoint of its own.
import { join, resolve } from "node:path";
import type { Device } from "../kernels/index.ts";
import {
  type CheckpointWriter,
  createCheckpointWriter,
  type Model,
  openModel,
  planShards,
  type TensorSpec,
  totalTensorBytes,
  writeFileAtomic,
} from "../runtime/index.ts";
import { openAdapter } from "./adapter.ts";
import { requireFinite } from "./measure.ts";
import { OutputDirectory } from "./output-directory.ts";
import type { QuantizeProgress } from "./progress.ts";
import { bytesOf, type CopiedFiles, copySmallFiles, publish, rowParts } from "./publish.ts";

export type MergeOptions = {
  /** Directory of the float model. */
  readonly source: string;
  /** Directory of the LoRA adapter. */
  readonly adapter: string;
  /** Directory for the result; must be empty or absent. */
  readonly output: string;
  readonly maxShardBytes: number;
  readonly device: Device;
  readonly signal?: AbortSignal | undefined;
  onProgress?(progress: QuantizeProgress): void;
};

/** What a merge did. */
export type MergeReport = {
  readonly source: string;
  readonly adapter: string;
  /** Tensors that the adapter changed. */
  readonly changed: readonly string[];
  /** Bytes of all tensors of the checkpoint. */
  readonly tensorBytes: number;
  readonly seconds: number;
  readonly files: CopiedFiles;
};

const storedNames = { f32: "F32", f16: "F16", bf16: "BF16" } as const;

/**
 * Merges a LoRA adapter into a model and writes the result: every tensor in the dtype it has in the source, with the
 * source's config and other small files. Quantizing it gives the bytes that quantizing with the adapter gives.
 *
 * @throws QuantizeError, CheckpointError, KernelError; the signal's reason when aborted. Nothing is then left under a
 *   final name.
 */
export async function mergeModel(options: MergeOptions): Promise<MergeReport> {
  const started = performance.now();
  const { source, device } = options;
  using overlay = await openAdapter(options.adapter, source, device);
  using model = openModel(source, device, { overlay });
  const plan = planShards(tensorSpecs(model), options.maxShardBytes);
  const output = resolve(options.output);
  using directory = new OutputDirectory(output, source);
  directory.prepare({ mayBeFull: undefined, keepsPartials: false });
  using writer = createCheckpointWriter(output, plan, new Map());
  await writeTensors(model, writer, options);
  const files = finish(model, writer, output);
  return {
    ...{ source, adapter: options.adapter, changed: overlay.names, files },
    tensorBytes: totalTensorBytes(plan),
    seconds: (performance.now() - started) / 1000,
  };
}

function tensorSpecs(model: Model): readonly TensorSpec[] {
  return [...model.tensorShapes()].map(([name, shape]) => {
    const entry = model.checkpoint.tensors.get(name);
    if (entry !== undefined) return { name, dtype: entry.dtype, shape };
    using tensor = model.tensor(name); // says what is missing
    return { name, dtype: storedNames[tensor.dtype], shape };
  });
}

async function writeTensors(
  model: Model,
  writer: CheckpointWriter,
  { signal, onProgress }: MergeOptions,
): Promise<void> {
  const names = [...model.tensorShapes().keys()];
  for (const [i, name] of names.entries()) {
    signal?.throwIfAborted();
    onProgress?.({ label: name, fraction: i / names.length });
    using tensor = model.tensor(name);
    await requireFinite(tensor, name);
    for (const view of rowParts(tensor)) {
      using part = view;
      writer.append(name, bytesOf(await part.read()));
    }
    model.evict(name);
  }
}

function finish(model: Model, writer: CheckpointWriter, dir: string): MergeReport["files"] {
  return publish(writer, dir, () => {
    const files = copySmallFiles(model.checkpoint.dir, dir);
    const config = JSON.stringify(model.checkpoint.config, undefined, 2);
    writeFileAtomic(join(dir, "config.json"), `${config}\n`);
    return files;
  });
}

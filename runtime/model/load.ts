import type { Device } from "../../kernels/index.ts";
import { CheckpointError, openCheckpoint, shown } from "../checkpoint/index.ts";
import type { Architecture, Model, OpenModelOptions } from "./architecture.ts";
import { peekBlock } from "./blocks.ts";
import { qwen } from "./qwen.ts";

/** Every model family that can be run; a new one is a file beside this and an entry here. */
const architectures: readonly Architecture[] = [qwen];

/**
 * Opens a model directory. Weights are mapped, not read.
 *
 * @throws CheckpointError naming the file, tensor or field that is missing, broken or not supported
 */
export function openModel(dir: string, device: Device, options: OpenModelOptions = {}): Model {
  const checkpoint = openCheckpoint(dir);
  const names = checkpoint.config["architectures"];
  const declared = Array.isArray(names) ? names : [];
  const found = architectures.find(({ name }) => declared.includes(name));
  // The 2023-08 files may lack the field; the family's own check of config.json then decides.
  const architecture = found ?? (declared.length === 0 ? qwen : undefined);
  if (architecture === undefined) {
    throw new CheckpointError(
      "CHECKPOINT_UNSUPPORTED",
      `${dir}/config.json: architecture ${shown(declared)} is not supported; ` +
        `supported: ${architectures.map(({ name }) => name).join(", ")}`,
    );
  }
  return architecture.load(checkpoint, device, options);
}

/**
 * Opens a model and each of its blocks once, to see that it can be run. Group indices and symmetric zeros are read,
 * packed weights are not.
 *
 * @throws CheckpointError as `openModel`
 */
export function loadEveryBlock(dir: string, device: Device): void {
  using model = openModel(dir, device);
  for (let index = 0; index < model.shape.layers; index++) {
    using _block = peekBlock(model, index);
  }
}

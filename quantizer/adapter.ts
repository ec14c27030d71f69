// A LoRA adapter merged into a model's weights as they are read: W + s·B·A in f32, rounded once to the dtype that W is
// stored as. See Hu et al., LoRA (arXiv:2106.09685), and the PEFT library for the files.
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type Device, type F32, type FloatTensor, MappedFile, ops } from "../kernels/index.ts";
import {
  type JsonObject,
  openModel,
  readJsonFile,
  readSafetensorsHeader,
  readTorchFile,
  shown,
  type TensorEntry,
  type TensorFile,
  type WeightOverlay,
} from "../runtime/index.ts";
import { parseAdapterConfig } from "./adapter-config.ts";
import {
  type AdapterTensors,
  assignTensors,
  type LoraPair,
  requireComplete,
} from "./adapter-tensors.ts";
import { QuantizeError } from "./errors.ts";

const dtypes: Readonly<Record<string, FloatTensor["dtype"]>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/** An adapter that was checked against a model; give it to openModel as overlay. */
export class Adapter implements WeightOverlay, Disposable {
  readonly dir: string;
  readonly #device: Device;
  readonly #file: MappedFile;
  readonly #tensors: AdapterTensors;

  constructor(file: string, device: Device, tensors: AdapterTensors) {
    this.dir = dirname(file);
    this.#device = device;
    this.#tensors = tensors;
    this.#file = new MappedFile(file);
  }

  /** Full names of the tensors it changes. */
  get names(): readonly string[] {
    return [...this.#tensors.pairs.keys(), ...this.#tensors.replacements.keys()];
  }

  /** Of its own tensors. */
  get storedBytes(): number {
    const { pairs, replacements } = this.#tensors;
    const entries = [
      ...[...pairs.values()].flatMap(({ a, b }) => [a, b]),
      ...replacements.values(),
    ];
    return entries.reduce((sum, { begin, end }) => sum + end - begin, 0);
  }

  replace(name: string, stored: FloatTensor): FloatTensor | undefined {
    const whole = this.#tensors.replacements.get(name);
    if (whole !== undefined) {
      const tensor = this.#load(whole);
      if (tensor.dtype === stored.dtype) return tensor;
      using other = tensor;
      return this.#cast(other, stored.dtype);
    }
    const pair = this.#tensors.pairs.get(name);
    return pair && this.#merge(stored, pair);
  }

  /** @throws QuantizeError QUANTIZE_ADAPTER naming a tensor with NaN or infinity */
  async requireFinite(): Promise<void> {
    const { pairs, replacements } = this.#tensors;
    const entries = [
      ...[...pairs.values()].flatMap(({ a, b }) => [a, b]),
      ...replacements.values(),
    ];
    for (const entry of entries) {
      const [rows = 1, width = 1] = entry.shape;
      using tensor = this.#load(entry);
      using matrix = tensor.reshape([rows, width]);
      using bad = ops.countNonFinite(matrix);
      const [count = 0] = await bad.read();
      if (count === 0) continue;
      throw new QuantizeError(
        "QUANTIZE_ADAPTER",
        `${entry.file}: tensor ${shown(entry.name)} holds ${count} values that are NaN or infinite; the training ` +
          "has diverged, or the file is broken",
      );
    }
  }

  #merge(stored: FloatTensor, { a, b, rank, scale }: LoraPair): FloatTensor {
    const diagonal = new Float32Array(rank * rank);
    for (let i = 0; i < rank; i++) diagonal[i * rank + i] = scale;
    using change = (() => {
      using storedA = this.#load(a);
      using storedB = this.#load(b);
      using transposedA = ops.transpose(storedA, "f32");
      using plainB = this.#cast(storedB, "f32") as F32;
      using scales = this.#device.from("f32", diagonal, [rank, rank]);
      using scaledB = ops.linear(plainB, scales);
      return ops.linear(scaledB, transposedA);
    })();
    using weight = this.#cast(stored, "f32") as F32;
    using sum = ops.add(weight, change);
    return this.#cast(sum, stored.dtype);
  }

  // What overflows becomes infinite, and whoever writes weights looks for that.
  #cast(tensor: FloatTensor, dtype: FloatTensor["dtype"]): FloatTensor {
    using counts = this.#device.zeros("i32", [2]);
    return ops.cast(tensor, dtype, counts);
  }

  #load(entry: TensorEntry): FloatTensor {
    return this.#file.tensor(this.#device, entry.begin, dtypes[entry.dtype] ?? "f32", entry.shape);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/**
 * Opens a LoRA adapter that PEFT saved, and checks that all of it can be merged into a model.
 *
 * @param dir     directory with adapter_config.json and adapter_model.safetensors, or else adapter_model.bin
 * @param source  directory of the float model
 * @returns an overlay for openModel, to be disposed after the model
 * @throws QuantizeError QUANTIZE_ADAPTER for what is broken or does not fit the model, QUANTIZE_ADAPTER_KIND for what
 *   cannot be merged; CheckpointError for files that cannot be read
 */
export async function openAdapter(dir: string, source: string, device: Device): Promise<Adapter> {
  const directory = resolve(dir);
  const configFile = join(directory, "adapter_config.json");
  const raw: JsonObject = readJsonFile(configFile, "CHECKPOINT_CONFIG");
  const config = parseAdapterConfig(raw, configFile);
  using model = openModel(source, device);
  if (model.quantization !== undefined) {
    throw new QuantizeError(
      "QUANTIZE_ADAPTER_KIND",
      `${directory}: cannot be merged into ${model.checkpoint.dir}, which is quantized: packed weights cannot take the ` +
        "change. A Q-LoRA adapter stays beside its model; for a LoRA adapter, give the float model",
    );
  }
  const shapes = model.tensorShapes();
  const file = readWeights(directory);
  const tensors = assignTensors(file.tensors, shapes, config);
  requireComplete(tensors, { shapes, config, file: file.path });
  const adapter = new Adapter(file.path, device, tensors);
  try {
    await adapter.requireFinite();
    return adapter;
  } catch (error) {
    adapter[Symbol.dispose]();
    throw error;
  }
}

/** PEFT saves safetensors since 0.7, and a PyTorch file before. */
function readWeights(dir: string): TensorFile {
  const current = join(dir, "adapter_model.safetensors");
  const old = join(dir, "adapter_model.bin");
  return !existsSync(current) && existsSync(old)
    ? readTorchFile(old)
    : readSafetensorsHeader(current);
}

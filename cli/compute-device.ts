import {
  type CudaOptions,
  type Device,
  detectedIsa,
  type Isa,
  isaLevels,
  openCudaDevice,
  openDevice,
} from "../kernels/index.ts";
import { UsageError } from "./errors.ts";
import { plural } from "./terminal/format.ts";

const isaVariable = "NIBBLE_ISA";
const libraryVariable = "NIBBLE_CUDA_LIBRARY";

/** "cpu", or a GPU: "cuda", "cuda:1" for the second. */
export const deviceNames: RegExp = /^(?:cpu|cuda(?::(\d{1,3}))?)$/;

/**
 * Opens what a command was told to compute with: the processor, with the threads it was given and no higher instruction-set
 * level than the environment variable NIBBLE_ISA names; or a GPU, with the kernels that NIBBLE_CUDA_LIBRARY names or those
 * built here.
 *
 * @throws UsageError for a level that does not exist; KernelError KERNEL_UNSUPPORTED for one that this processor lacks, or
 *   saying why there is no such GPU
 */
export function openComputeDevice({
  threads,
  device = "cpu",
}: {
  readonly threads?: number;
  readonly device?: string;
} = {}): Device {
  if (device !== "cpu") {
    return openCudaDevice({ index: Number(deviceNames.exec(device)?.[1] ?? 0), ...cudaLibrary() });
  }
  const isa = limitedIsa();
  return openDevice({
    ...(threads === undefined ? {} : { threads }),
    ...(isa === undefined ? {} : { isa }),
  });
}

export function describeDevice({ kind, name, threads, isa }: Device): string {
  return kind === "cpu" ? `cpu, ${plural(threads, "thread")}, ${isa}` : `${kind}, ${name}`;
}

/** The CUDA kernels that the environment names, where it does. */
export function cudaLibrary(): Pick<CudaOptions, "library"> {
  const library = process.env[libraryVariable];
  return library === undefined || library === "" ? {} : { library };
}

/** The level that commands compute with. */
export function usedIsa(): Isa {
  return limitedIsa() ?? detectedIsa();
}

function limitedIsa(): Isa | undefined {
  const wanted = process.env[isaVariable];
  if (wanted === undefined || wanted === "") return undefined;
  const isa = isaLevels.find((level) => level === wanted);
  if (isa !== undefined) return isa;
  throw new UsageError(`${isaVariable} is "${wanted}"; expected one of ${isaLevels.join(", ")}`);
}

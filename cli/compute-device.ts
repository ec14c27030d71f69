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
const cudaVariables = [
  ["library", "NIBBLE_CUDA_LIBRARY"],
  ["cublasLt", "NIBBLE_CUBLASLT"],
  ["cusolver", "NIBBLE_CUSOLVER"],
] as const;

/** "cpu", or a GPU: "cuda", "cuda:1" for the second. */
export const deviceNames: RegExp = /^(?:cpu|cuda(?::(\d{1,3}))?)$/;

/**
 * Opens what a command was told to compute with: the processor, with the threads it was given and no higher instruction-set
 * level than the environment variable NIBBLE_ISA names; or a GPU, with the kernels that NIBBLE_CUDA_LIBRARY names or those
 * built here, and NVIDIA's libraries as NIBBLE_CUBLASLT and NIBBLE_CUSOLVER have it.
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
    return openCudaDevice({
      index: Number(deviceNames.exec(device)?.[1] ?? 0),
      ...cudaLibraries(),
    });
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

/** The libraries that the environment names, where it does. */
export function cudaLibraries(): Omit<CudaOptions, "index"> {
  const named = cudaVariables.map(([option, variable]) => [option, process.env[variable]] as const);
  return Object.fromEntries(named.filter(([, file]) => file !== undefined && file !== ""));
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

// NVIDIA GPUs, through a library of kernels that is built apart (npm run build:cuda) and opened at run time.
import { dirname, join } from "node:path";
import { addonPath } from "./addon-path.ts";
import { Device } from "./device.ts";
import { call } from "./native.ts";

export type CudaOptions = {
  /** Which GPU, 0 by default. */
  readonly index?: number;
  /** The library of kernels; by default the one that "npm run build:cuda" makes. */
  readonly library?: string;
  /** A file of NVIDIA's cuBLASLt, or "off"; by default what the system finds, if anything (`Device.vendorLibraries`). */
  readonly cublasLt?: string;
  /** The same of cuSOLVER. */
  readonly cusolver?: string;
};

export type CudaDevice = {
  readonly name: string;
  /** Bytes */
  readonly memory: number;
  /** Compute capability, such as "9.0" */
  readonly capability: string;
  readonly multiprocessors: number;
};

/** Beside the addon. */
const defaultLibrary: string = join(dirname(addonPath), "nibble_cuda.so");

/**
 * Opens a GPU. Its tensors lie in its own memory: what is written to them or mapped from a file is copied there.
 *
 * @throws KernelError KERNEL_UNSUPPORTED saying whether the library, the driver or the GPU is missing, the library is of
 *   another version, or what `cublasLt` or `cusolver` names cannot be loaded; KERNEL_OUT_OF_MEMORY
 */
export function openCudaDevice(options: CudaOptions = {}): Device {
  const { index = 0, library = defaultLibrary, cublasLt = "", cusolver = "" } = options;
  const handle = call((addon) => addon.openCudaDevice(library, index, cublasLt, cusolver));
  const name = cudaDevices(library)[index]?.name ?? "unknown";
  return new Device(handle, { kind: "cuda", name, threads: 1, isa: "scalar" });
}

/**
 * The GPUs that could be opened.
 *
 * @throws KernelError KERNEL_UNSUPPORTED where there is no library or no driver
 */
export function cudaDevices(library: string = defaultLibrary): readonly CudaDevice[] {
  return call((addon) => addon.cudaDevices(library)).map(
    ([name, memory, capability, multiprocessors]) => ({
      ...{ name, memory, capability, multiprocessors },
    }),
  );
}

import { type Device, detectedIsa, type Isa, isaLevels, openDevice } from "../kernels/index.ts";
import { UsageError } from "./errors.ts";

const variable = "NIBBLE_ISA";

/**
 * Opens the processor with the threads a command was given and, where the environment variable NIBBLE_ISA names one, no higher
 * instruction-set level than that.
 *
 * @throws UsageError for a level that does not exist; KernelError KERNEL_UNSUPPORTED for one that this processor lacks
 */
export function openComputeDevice({ threads }: { readonly threads?: number } = {}): Device {
  const isa = limitedIsa();
  return openDevice({
    ...(threads === undefined ? {} : { threads }),
    ...(isa === undefined ? {} : { isa }),
  });
}

/** The level that commands compute with. */
export function usedIsa(): Isa {
  return limitedIsa() ?? detectedIsa();
}

function limitedIsa(): Isa | undefined {
  const wanted = process.env[variable];
  if (wanted === undefined || wanted === "") return undefined;
  const isa = isaLevels.find((level) => level === wanted);
  if (isa !== undefined) return isa;
  throw new UsageError(`${variable} is "${wanted}"; expected one of ${isaLevels.join(", ")}`);
}

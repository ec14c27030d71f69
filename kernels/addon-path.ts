import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

// Compiled, the addon lies beside this file; run from the sources (tests), it lies in dist.
const candidates = ["./kernels.node", "../dist/kernels/kernels.node"].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);

/** Where the native addon is, or where it would be once built. */
export const addonPath: string = candidates.find((path) => existsSync(path)) ?? candidates[0] ?? "";

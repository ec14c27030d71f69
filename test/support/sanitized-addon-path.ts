import { repositoryPath } from "./shared.ts";

/** Stands in for kernels/addon-path.ts when the tests run against the sanitized build. */
export const addonPath: string = repositoryPath("build/sanitized/kernels.node");

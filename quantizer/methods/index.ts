import { gptq } from "./gptq.ts";
import type { Method } from "./method.ts";
import { rtn } from "./rtn.ts";

export type MethodName = "gptq" | "rtn";

/** Every method; a new one is a file beside this, its name above and an entry here. */
export const methods: Readonly<Record<MethodName, Method>> = { gptq, rtn };
export const methodNames: readonly MethodName[] = ["gptq", "rtn"];

export { gridOf } from "./grid.ts";
export type { MethodResult, Solver } from "./method.ts";
export { refineProducts, refineSweeps } from "./refine.ts";
export { retargetProducts } from "./retarget.ts";
export { roundInPlace } from "./rtn.ts";

// The rows of the study: recipes by name, in sets.
import type { Recipe } from "../../../quantizer/index.ts";

export type Variant = {
  readonly name: string;
  /** On top of `--bits` and `--group` */
  readonly recipe: Partial<Recipe>;
  /** What the recipe leaves open; nothing of it by default */
  readonly preset?: "best" | "fast";
  /** Bits by sensitivity, so many per weight, in the place of `--bits` and `--group` */
  readonly targetBpw?: number;
  /** Whether Hessians come from a file, so all of the float model */
  readonly keepsStatistics?: boolean;
  /** How the output head is computed, when scored */
  readonly head?: "int8";
};

/** GPTQ in descending order with static groups, and nothing else. */
const plain: Partial<Recipe> = {
  ...{ order: "act-order-static", grid: "min-max", signedScales: false },
  ...{ refine: "none", gptaq: 0, damping: 0.01 },
};
const clipped: Partial<Recipe> = { ...plain, signedScales: true, grid: "importance" };

const compat: Variant = { name: "AutoGPTQ (compat)", recipe: { compat: "autogptq" } };
const rtn: Variant = {
  name: "RTN",
  recipe: { method: "rtn", grid: "min-max", signedScales: false },
};
const fast: Variant = { name: "fast", recipe: {}, preset: "fast" };
const best: Variant = { name: "best", recipe: {}, preset: "best" };

/** What each option is worth alone, on top of `plain`. */
const alone: readonly Variant[] = [
  { name: "in order", recipe: { ...plain, order: "in-order" } },
  { name: "act-order, static groups", recipe: plain },
  { name: "+ dynamic groups", recipe: { ...plain, order: "act-order" } },
  { name: "+ signed scales", recipe: { ...plain, signedScales: true } },
  { name: "+ asymmetric", recipe: { ...plain, symmetric: false } },
  { name: "+ mse grid", recipe: { ...plain, grid: "mse" } },
  { name: "+ importance grid", recipe: { ...plain, grid: "importance" } },
  { name: "+ refined scales", recipe: { ...plain, refine: "scales" } },
  { name: "+ refined codes", recipe: { ...plain, refine: "codes" } },
  { name: "+ GPTAQ 0.5", recipe: { ...plain, gptaq: 0.5 } },
  { name: "+ GPTAQ 1", recipe: { ...plain, gptaq: 1 } },
  { name: "+ damping 0.05", recipe: { ...plain, damping: 0.05 } },
];

/** What each option adds to what comes before it, and what `best` loses without one. */
const together: readonly Variant[] = [
  { name: "signed, importance = fast", recipe: {}, preset: "fast" },
  { name: "fast, refined codes", recipe: { ...clipped, refine: "codes" } },
  { name: "best", recipe: {}, preset: "best" },
  { name: "best, positive scales", recipe: { signedScales: false }, preset: "best" },
  { name: "best, min-max grid", recipe: { grid: "min-max" }, preset: "best" },
  { name: "best, refined scales only", recipe: { refine: "scales" }, preset: "best" },
  { name: "best, not refined", recipe: { refine: "none" }, preset: "best" },
  { name: "best, GPTAQ 0.5", recipe: { gptaq: 0.5 }, preset: "best" },
  { name: "best, GPTAQ 1", recipe: { gptaq: 1 }, preset: "best" },
  { name: "best, damping 0.01", recipe: { damping: 0.01 }, preset: "best" },
  { name: "best, damping 0.1", recipe: { damping: 0.1 }, preset: "best" },
  {
    name: "best without GPTAQ, kept statistics",
    ...{ recipe: { gptaq: 0 }, preset: "best", keepsStatistics: true },
  },
  { name: "best without GPTAQ", recipe: { gptaq: 0 }, preset: "best" },
  { name: "best, int8 head", recipe: {}, preset: "best", head: "int8" },
  { name: "best, asymmetric", recipe: { symmetric: false }, preset: "best" },
  { name: "best, in order", recipe: { order: "in-order" }, preset: "best" },
  { name: "best, f32 Hessians", recipe: { hessianDtype: "f32" }, preset: "best" },
];

export const sets: Readonly<Record<string, readonly Variant[]>> = {
  main: [compat, rtn, fast, best],
  // 4.976: what Q4_K_M takes for the linears of the bundled model.
  budget: [compat, { name: "best, 4.976 bpw", recipe: {}, preset: "best", targetBpw: 4.976 }],
  options: [compat, rtn, ...alone, ...together],
};

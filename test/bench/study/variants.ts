// The rows of the study: recipes by name.
import type { Recipe } from "../../../quantizer/index.ts";

export type Variant = { readonly name: string; readonly recipe: Partial<Recipe> };

const signed = { signedScales: true } as const;
const importance = { grid: "importance" } as const;
const all = { ...signed, ...importance, refine: "codes", gptaq: 1 } as const;

/** By the name of a set. */
export const sets: Readonly<Record<string, readonly Variant[]>> = {
  options: [
    { name: "AutoGPTQ (compat)", recipe: { compat: "autogptq" } },
    { name: "RTN", recipe: { method: "rtn" } },
    { name: "in order", recipe: { order: "in-order" } },
    { name: "act-order, static groups", recipe: {} },
    { name: "+ signed", recipe: signed },
    { name: "+ mse", recipe: { grid: "mse" } },
    { name: "+ importance", recipe: importance },
    { name: "+ refine scales", recipe: { refine: "scales" } },
    { name: "+ refine codes", recipe: { refine: "codes" } },
    { name: "+ gptaq 1", recipe: { gptaq: 1 } },
    { name: "+ gptaq 0.5", recipe: { gptaq: 0.5 } },
    { name: "signed, importance", recipe: { ...signed, ...importance } },
    { name: "signed, importance, codes", recipe: { ...signed, ...importance, refine: "codes" } },
    { name: "all", recipe: all },
  ],
  tune: [
    { name: "AutoGPTQ (compat)", recipe: { compat: "autogptq" } },
    ...[0, 0.25, 0.5, 0.75, 1].map((gptaq) => ({
      name: `all, gptaq ${gptaq}`,
      recipe: { ...all, gptaq },
    })),
    ...[0.003, 0.03, 0.1].map((damping) => ({
      name: `all, gptaq 0.5, damping ${damping}`,
      recipe: { ...all, gptaq: 0.5, damping },
    })),
    { name: "all, gptaq 0.5, mse", recipe: { ...all, gptaq: 0.5, grid: "mse" } },
    { name: "all, gptaq 0.5, in order", recipe: { ...all, gptaq: 0.5, order: "in-order" } },
    { name: "all, gptaq 0.5, f32", recipe: { ...all, gptaq: 0.5, hessianDtype: "f32" } },
  ],
  tune2: [
    { name: "gptaq 0.5, damping 0.05", recipe: { ...all, gptaq: 0.5, damping: 0.05 } },
    { name: "gptaq 0.75, damping 0.1", recipe: { ...all, gptaq: 0.75, damping: 0.1 } },
    { name: "gptaq 1, damping 0.1", recipe: { ...all, gptaq: 1, damping: 0.1 } },
  ],
};

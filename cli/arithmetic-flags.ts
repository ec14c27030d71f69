// How a model computes, for every command that runs one for its answers or its speed.
import { type Command, Option } from "commander";
import type { ActivationDtype } from "../kernels/index.ts";
import { type CacheDtype, cacheDtypes, type HeadMode, headModes } from "../runtime/index.ts";

export type ArithmeticFlags = {
  readonly head: HeadMode;
  readonly activations: ActivationDtype;
  readonly kv: CacheDtype;
};

/** The same, as `openModel` takes it. */
export type Arithmetic = Omit<ArithmeticFlags, "kv"> & { readonly kvCache: CacheDtype };

export function addArithmeticFlags(command: Command): void {
  command
    .addOption(
      new Option(
        "--head <mode>",
        "exact; screened: the same tokens, faster where greedy; int8: faster always, with slightly other logits",
      )
        .choices(headModes)
        .default("screened"),
    )
    .addOption(
      new Option(
        "--activations <dtype>",
        "of a quantized model: int16, as good as exact, or int8, faster for prompts and coarser",
      )
        .choices(["int16", "int8"])
        .default("int16"),
    )
    .addOption(
      new Option(
        "--kv <dtype>",
        "keys and values: f16, as good as exact; int8, half of it; bf16, with the range of f32; or f32",
      )
        .choices(cacheDtypes)
        .default("f16"),
    );
}

/** What of a command's flags `openModel` takes. */
export function arithmeticOf({ head, activations, kv }: ArithmeticFlags): Arithmetic {
  return { head, activations, kvCache: kv };
}

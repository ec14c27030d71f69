import { CheckpointError } from "../runtime/index.ts";

export type RecipeErrorCode = "RECIPE_OPTION";

/** An option of a recipe is wrong. The message names it. */
export class RecipeError extends Error {
  static {
    RecipeError.prototype.name = "RecipeError";
  }
  readonly code: RecipeErrorCode;

  constructor(code: RecipeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type QuantizeErrorCode =
  | "QUANTIZE_SOURCE"
  /** An adapter is broken or does not fit the model. */
  | "QUANTIZE_ADAPTER"
  /** An adapter of a kind that cannot be merged. */
  | "QUANTIZE_ADAPTER_KIND"
  | "QUANTIZE_OUTPUT"
  /** Another run writes to the output directory. */
  | "QUANTIZE_IN_USE"
  | "QUANTIZE_RESUME"
  /** The memory allowed is too little for the model. */
  | "QUANTIZE_MEMORY"
  | "QUANTIZE_NOT_FINITE"
  | "QUANTIZE_OVERFLOW";

/** Quantization stopped; the message names the layer or file. */
export class QuantizeError extends Error {
  static {
    QuantizeError.prototype.name = "QuantizeError";
  }
  readonly code: QuantizeErrorCode;

  constructor(code: QuantizeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether the same call may succeed later, so that what it did is worth keeping. */
export function mayGoAway(error: unknown): boolean {
  if (error instanceof CheckpointError) return error.code !== "CHECKPOINT_CHANGED";
  return !(error instanceof QuantizeError);
}

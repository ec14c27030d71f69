// Errors of every layer as an exit code and one line.

import { CommanderError } from "commander";
import { CalibrationError } from "../calibration/index.ts";
import { KernelError } from "../kernels/index.ts";
import { QuantizeError, RecipeError } from "../quantizer/index.ts";
import {
  CheckpointError,
  EvaluationError,
  GenerationError,
  TokenizerError,
} from "../runtime/index.ts";
import { version } from "./version.ts";

export const exitCodes = {
  ok: 0,
  failure: 1,
  /** The command line is wrong. */
  usage: 2,
  /** A model or file is missing, broken or unsuitable. */
  input: 3,
  interrupted: 130,
  terminated: 143,
} as const;

/** The command line asks for something that makes no sense; the message names the flag. */
export class UsageError extends Error {
  static {
    UsageError.prototype.name = "UsageError";
  }
}

/** A file named on the command line is missing or cannot be used; the message names it. */
export class InputError extends Error {
  static {
    InputError.prototype.name = "InputError";
  }
}

/** The result is printed and says that something is not in order: exit code 1 and no further message. */
export class NegativeOutcome extends Error {
  static {
    NegativeOutcome.prototype.name = "NegativeOutcome";
  }
}

export type Failure = {
  readonly exitCode: number;
  /** One line without "error:"; undefined where the reason has been printed or is no error. */
  readonly message: string | undefined;
};

const usageCodes: ReadonlySet<string> = new Set([
  "RECIPE_OPTION",
  "CALIBRATION_OPTION",
  "EVALUATION_OPTION",
  "EVALUATION_SANDBOX",
  "GENERATION_OPTION",
  "GENERATION_PROMPT",
  "GENERATION_LENGTH",
  "QUANTIZE_MEMORY",
  "QUANTIZE_OUTPUT",
  "QUANTIZE_IN_USE",
  "QUANTIZE_RESUME",
  "TOKENIZER_OPTION",
]);

const failureCodes: ReadonlySet<string> = new Set([
  "CALIBRATION_SPILL",
  "CHECKPOINT_WRITE",
  "KERNEL_UNSUPPORTED",
  "KERNEL_OUT_OF_MEMORY",
  "KERNEL_DEVICE",
  "KERNEL_NOT_BUILT",
  "QUANTIZE_OVERFLOW",
]);

/** What only a bug of this program can bring about. */
const bugCodes: ReadonlySet<string> = new Set([
  "KERNEL_SHAPE",
  "KERNEL_DTYPE",
  "KERNEL_VALUE",
  "KERNEL_INTERNAL",
  "TOKENIZER_UNKNOWN_ID",
  "TOKENIZER_TEXT",
  "TOKENIZER_CLOSED",
]);

const ownErrors = [
  CalibrationError,
  CheckpointError,
  EvaluationError,
  GenerationError,
  KernelError,
  QuantizeError,
  RecipeError,
  TokenizerError,
] as const;

/** What a flag may do about an error of a library that knows no flags. */
const hints: ReadonlyMap<unknown, string> = new Map([
  ["GENERATION_NOT_FINITE", "if it has keys or values beyond 65504, --kv bf16 or f32 keeps them"],
]);

/** How a run was asked to stop. */
export type StopRequest = "interrupted" | "terminated";

/** @param stop  that the user or the system asked to stop explains any error that follows */
export function describeFailure(error: unknown, stop: StopRequest | undefined): Failure {
  if (stop !== undefined) return { exitCode: exitCodes[stop], message: stop };
  if (error instanceof CommanderError) {
    return { exitCode: error.exitCode === 0 ? exitCodes.ok : exitCodes.usage, message: undefined };
  }
  if (error instanceof NegativeOutcome) {
    return { exitCode: exitCodes.failure, message: undefined };
  }
  const exitCode = knownExitCode(error);
  if (exitCode !== undefined && error instanceof Error) {
    const hint = "code" in error ? hints.get(error.code) : undefined;
    const message = hint === undefined ? error.message : `${error.message}; ${hint}`;
    return { exitCode, message };
  }
  const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    exitCode: exitCodes.failure,
    message: `internal error, a bug in nibble ${version}: ${cause} (--debug shows where)`,
  };
}

function knownExitCode(error: unknown): number | undefined {
  if (error instanceof UsageError) return exitCodes.usage;
  if (error instanceof InputError) return exitCodes.input;
  for (const kind of ownErrors) {
    if (!(error instanceof kind)) continue;
    if (bugCodes.has(error.code)) return undefined;
    if (usageCodes.has(error.code)) return exitCodes.usage;
    return failureCodes.has(error.code) ? exitCodes.failure : exitCodes.input;
  }
  // The operating system's own words ("ENOSPC: no space left on device, write") say enough.
  return error instanceof Error && "syscall" in error ? exitCodes.failure : undefined;
}

import { describe, expect, test } from "vitest";
import { CalibrationError } from "../../calibration/index.ts";
import { describeFailure, InputError, UsageError } from "../../cli/errors.ts";
import { KernelError } from "../../kernels/index.ts";
import { QuantizeError, RecipeError } from "../../quantizer/index.ts";
import { CheckpointError, GenerationError } from "../../runtime/index.ts";

const full = Object.assign(new Error("ENOSPC: no space left"), {
  code: "ENOSPC",
  syscall: "write",
});

describe("an error", () => {
  test.each<[number, Error]>([
    [1, new CheckpointError("CHECKPOINT_WRITE", "m")],
    [1, new QuantizeError("QUANTIZE_OVERFLOW", "m")],
    [1, new KernelError("KERNEL_OUT_OF_MEMORY", "m")],
    [1, full],
    [2, new UsageError("m")],
    [2, new RecipeError("RECIPE_OPTION", "m")],
    [2, new GenerationError("GENERATION_LENGTH", "m")],
    [2, new QuantizeError("QUANTIZE_OUTPUT", "m")],
    [3, new InputError("m")],
    [3, new CheckpointError("CHECKPOINT_TRUNCATED", "m")],
    [3, new CalibrationError("CALIBRATION_ROW", "m")],
    [3, new QuantizeError("QUANTIZE_SOURCE", "m")],
  ])("ends with %i: %s", (exitCode, error) => {
    expect(describeFailure(error, undefined)).toEqual({ exitCode, message: error.message });
  });

  test.each([
    new TypeError("x is undefined"),
    new KernelError("KERNEL_SHAPE", "x is undefined"),
    "x is undefined",
  ])("that no input explains is called a bug, with its cause: %s", (error) => {
    const { exitCode, message } = describeFailure(error, undefined);
    expect(exitCode).toBe(1);
    expect(message).toMatch(/bug in nibble \d.*x is undefined/);
  });

  test("that a flag may help with names the flag", () => {
    const error = new GenerationError("GENERATION_NOT_FINITE", "a logit is NaN");
    const { message } = describeFailure(error, undefined);
    expect(message).toMatch(/^a logit is NaN; .*--kv bf16/);
  });

  test("after Ctrl-C is an interruption, whatever it is", () => {
    expect(describeFailure(new TypeError("late"), "interrupted").exitCode).toBe(130);
    expect(describeFailure(new TypeError("late"), "terminated").exitCode).toBe(143);
  });
});

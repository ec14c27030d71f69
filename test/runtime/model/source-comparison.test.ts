import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, openDevice } from "../../../kernels/index.ts";
import { compareWithSource, loadEveryBlock } from "../../../runtime/index.ts";
import { writeQuantizedQwen } from "../../support/quantized-qwen.ts";
import { repositoryPath, sharedPath } from "../../support/shared.ts";
import { temporaryDirectory, writeTinyQwen } from "../../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
const path = (name: string) => join(temporary.path, name);
const mini = repositoryPath("examples", "qwen-mini");
let device: Device;
beforeAll(() => {
  device = openDevice({ threads: 1 });
});
afterAll(() => {
  device[Symbol.dispose]();
  temporary.remove();
});

describe("comparing with the source", () => {
  for (const [name, limit] of [
    ["qwen-mini-int4-autogptq", 0.25],
    ["qwen-mini-int8-autogptq", 0.015],
  ] as const) {
    const dir = sharedPath("models", name);
    const source = sharedPath("models", "qwen-mini");
    test.skipIf(dir === undefined)(`${name} holds the weights of its source`, async () => {
      const comparison = await compareWithSource(dir ?? "", source ?? "", device);
      expect(comparison).toHaveLength(40);
      for (const { relativeError, errorInSteps, isPlausible } of comparison) {
        expect(isPlausible).toBe(true);
        expect(relativeError).toBeLessThan(limit);
        // Not less than rounding alone, whose error is uniform over a step.
        expect(errorInSteps).toBeGreaterThan(0.27);
      }
    });
  }

  test("refuses models of different shapes, naming the extent", async () => {
    const dir = writeQuantizedQwen(path("quantized"));
    await expect(compareWithSource(dir, mini, device)).rejects.toMatchObject({
      name: "CheckpointError",
      code: "CHECKPOINT_CONFIG",
      message: expect.stringContaining("layers is 8"),
    });
  });

  test("refuses a float model in the place of the quantized one, and the reverse", async () => {
    const unsupported = { name: "CheckpointError", code: "CHECKPOINT_UNSUPPORTED" };
    await expect(compareWithSource(mini, mini, device)).rejects.toMatchObject(unsupported);
    const dir = writeQuantizedQwen(path("both"));
    await expect(compareWithSource(dir, dir, device)).rejects.toMatchObject(unsupported);
  });
});

describe("loading every block", () => {
  test("passes for a whole model", () => {
    expect(() => loadEveryBlock(writeQuantizedQwen(path("whole")), device)).not.toThrow();
  });

  test("finds what the last block lacks", () => {
    writeTinyQwen(path("short"), { num_hidden_layers: 3 });
    expect(() => loadEveryBlock(path("short"), device)).toThrow(
      expect.objectContaining({ code: "CHECKPOINT_TENSOR" }),
    );
  });
});

import { describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import { openModel } from "../../../runtime/index.ts";
import { sharedGolden } from "../../support/golden.ts";
import { runnableIsas } from "../../support/kernels.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { repositoryPath, sharedPath } from "../../support/shared.ts";

/** Largest |Δlogit| over the stored rows (the last ones), relative to the largest |logit|. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  const offset = actual.length - expected.length;
  let difference = 0;
  let largest = 0;
  for (const [i, e] of expected.entries()) {
    const delta = Math.abs((actual[offset + i] ?? Number.NaN) - e);
    if (!(delta <= difference)) difference = delta;
    largest = Math.max(largest, Math.abs(e));
  }
  return difference / largest;
}

const golden = sharedGolden("forward.safetensors");
const names = golden?.names.filter((name) => name.endsWith(".ids")).map((n) => n.slice(0, -4));

describe.skipIf(golden === undefined).each(runnableIsas)("forward pass on %s", (isa) => {
  test.each(names ?? [])(
    "%s matches the original code within 1e-3 of its largest logit",
    async (name) => {
      using device = openDevice({ threads: 2, isa });
      using model = openModel(repositoryPath("examples/qwen-mini"), device);
      const logits = await sequenceLogits(model, golden?.ids(`${name}.ids`) ?? new Int32Array());
      const error = relativeError(logits, golden?.f32(`${name}.logits`) ?? new Float32Array());
      console.info(`${isa} ${name}: max |Δlogit| / max |logit| = ${error.toExponential(2)}`);
      expect(error).toBeLessThanOrEqual(1e-3);
    },
  );

  test.each(["int4", "int8"])(
    "AutoGPTQ's %s checkpoint loads unchanged and matches",
    async (kind) => {
      const dir = sharedPath("models", `qwen-mini-${kind}-autogptq`);
      const expected = sharedGolden(`forward-${kind}-autogptq.safetensors`);
      if (dir === undefined || expected === undefined)
        throw new Error("reference model is missing");
      using device = openDevice({ threads: 2, isa });
      using model = openModel(dir, device);
      const logits = await sequenceLogits(model, expected.ids("prompt.ids"));
      const error = relativeError(logits, expected.f32("prompt.logits"));
      console.info(`${isa} ${kind}: max |Δlogit| / max |logit| = ${error.toExponential(2)}`);
      expect(error).toBeLessThanOrEqual(1e-3);
    },
  );
});

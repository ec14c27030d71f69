import { describe, expect, test } from "vitest";
import { openModel } from "../../../runtime/index.ts";
import { sharedGolden } from "../../support/golden.ts";
import {
  type Implementation,
  implementations,
  isOnGpu,
  openImplementation,
} from "../../support/kernels.ts";
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

/** By emulation a row takes seconds: the first rows have to do, more than one kernel's and fewer than another's. */
const emulatedRows = 26;

/** The ids and stored logits that an implementation is tried on; undefined where too many rows would be needed. */
function problem(isa: Implementation, ids: Int32Array, logits: Float32Array, vocabulary = 4096) {
  const isEmulated = isa === "cuda" && !isOnGpu;
  if (!isEmulated || ids.length <= emulatedRows) return { ids, logits };
  // Rows do not see those after them.
  if (logits.length < ids.length * vocabulary) return undefined;
  return {
    ids: ids.slice(0, emulatedRows),
    logits: logits.slice(0, emulatedRows * vocabulary),
  };
}

const golden = sharedGolden("forward.safetensors");
const names = golden?.names.filter((name) => name.endsWith(".ids")).map((n) => n.slice(0, -4));

describe.skipIf(golden === undefined).each(implementations)("forward pass on %s", (isa) => {
  test.for(names ?? [])(
    "%s matches the original code within 1e-3 of its largest logit",
    async (name, { skip }) => {
      const [ids, stored] = [golden?.ids(`${name}.ids`), golden?.f32(`${name}.logits`)];
      const expected = problem(isa, ids ?? new Int32Array(), stored ?? new Float32Array());
      if (expected === undefined) return skip("takes too long by emulation");
      using device = openImplementation(isa);
      using model = openModel(repositoryPath("examples/qwen-mini"), device);
      const logits = await sequenceLogits(model, expected.ids);
      const error = relativeError(logits, expected.logits);
      console.info(`${isa} ${name}: max |Δlogit| / max |logit| = ${error.toExponential(2)}`);
      expect(error).toBeLessThanOrEqual(1e-3);
    },
  );

  test.each(["int4", "int8"])(
    "AutoGPTQ's %s checkpoint loads unchanged and matches",
    async (kind) => {
      const dir = sharedPath("models", `qwen-mini-${kind}-autogptq`);
      const stored = sharedGolden(`forward-${kind}-autogptq.safetensors`);
      if (dir === undefined || stored === undefined) throw new Error("reference model is missing");
      const expected = problem(isa, stored.ids("prompt.ids"), stored.f32("prompt.logits"));
      if (expected === undefined) throw new Error("not all of the prompt's logits are stored");
      using device = openImplementation(isa);
      using model = openModel(dir, device);
      const logits = await sequenceLogits(model, expected.ids);
      const error = relativeError(logits, expected.logits);
      console.info(`${isa} ${kind}: max |Δlogit| / max |logit| = ${error.toExponential(2)}`);
      expect(error).toBeLessThanOrEqual(1e-3);
    },
  );
});

import { afterAll, describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import { generate, largest, nextLogProbabilities } from "../../../runtime/index.ts";
import { collect, openMini, request } from "./generate-support.ts";

const device = openDevice({ threads: 2 });
const model = openMini(device);
afterAll(() => {
  model[Symbol.dispose]();
  device[Symbol.dispose]();
});

describe("log probabilities of the next token", () => {
  // The bundled model was trained on 512 tokens: beyond them, the rotary base depends on the prompt's length, and stays while
  // what is generated grows over the limit.
  test.each([20, 508, 700])(
    "after %i tokens are what greedy decoding chooses from",
    async (length) => {
      const prompt = Array.from({ length }, (_, i) => (i * 37) % 3000);
      const chosen = await collect(generate(model, request(model, { prompt })));
      for (const made of [0, 1, 7, 11]) {
        const generated = chosen.slice(0, made);
        const logs = await nextLogProbabilities(model, { prompt, generated });
        expect(logs.length).toBe(model.shape.vocabulary);
        expect(largest(logs, 1)).toEqual([chosen[made]]);
        expect(logs.reduce((sum, log) => sum + Math.exp(log), 0)).toBeCloseTo(1, 4);
      }
    },
  );

  test("are not asked of a model once it is aborted", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(
      nextLogProbabilities(model, { prompt: [1], generated: [], signal }),
    ).rejects.toThrow("enough");
  });
});

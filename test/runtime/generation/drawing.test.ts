import { describe, expect, test } from "vitest";
import { noId } from "../../../kernels/index.ts";
import { chosenId, Drawing } from "../../../runtime/generation/drawing.ts";
import { createRandom, parseSamplingOptions } from "../../../runtime/index.ts";

const seenIn = (drawing: Drawing, history: readonly number[], guesses: readonly number[] = []) =>
  drawing
    .rows(history, guesses)
    .map(({ seen }) => Object.fromEntries([...seen!.ids].map((id, i) => [id, seen!.times[i]])));

describe("what a request draws with", () => {
  test("is its random numbers in order, each until it is taken", () => {
    const random = createRandom(9);
    const numbers = Array.from({ length: 5 }, random);
    const drawing = new Drawing(parseSamplingOptions({ seed: 9 }), 1);
    const uniforms = (guesses: readonly number[]) =>
      drawing.rows([1], guesses).map(({ uniform }) => uniform);
    expect(uniforms([7, 8, 9])).toEqual(numbers.slice(0, 4));
    expect([drawing.takeUniform(), drawing.takeUniform()]).toEqual(numbers.slice(0, 2));
    expect(uniforms([])).toEqual(numbers.slice(2, 3));
    expect(uniforms([7])).toEqual(numbers.slice(2, 4));
    for (const number of numbers.slice(2)) expect(drawing.takeUniform()).toBe(number);
  });

  test("is the ids seen, and how often each was generated", () => {
    const drawing = new Drawing(parseSamplingOptions({ presencePenalty: 1 }), 3);
    expect(seenIn(drawing, [5, 6, 5])).toEqual([{ 5: 0, 6: 0 }]);
    expect(seenIn(drawing, [5, 6, 5, 6, 7, 6])).toEqual([{ 5: 0, 6: 2, 7: 1 }]);
    expect(seenIn(drawing, [5, 6, 5, 6, 7, 6], [8, 5, 8])).toEqual([
      { 5: 0, 6: 2, 7: 1 },
      { 5: 0, 6: 2, 7: 1, 8: 1 },
      { 5: 1, 6: 2, 7: 1, 8: 1 },
      { 5: 1, 6: 2, 7: 1, 8: 2 },
    ]);
    const long = Array.from({ length: 1000 }, (_, i) => i);
    expect(seenIn(drawing, [5, 6, 5, 6, 7, 6, ...long])[0]).toMatchObject({ 5: 1, 6: 3, 999: 1 });
  });

  test("has no ids where nothing is penalized", () => {
    const [row] = new Drawing(parseSamplingOptions({ topP: 0.5 }), 1).rows([1, 2]);
    expect(row?.seen).toBeUndefined();
  });
});

test.each([
  [noId.nan, "a logit is NaN"],
  [noId.allMinusInfinity, "all logits are -Infinity"],
  [noId.infinity, "a logit is Infinity"],
])("no id, %i, is an error: %s", (id, message) => {
  expect(() => chosenId(id)).toThrow(
    expect.objectContaining({
      code: "GENERATION_NOT_FINITE",
      message: expect.stringContaining(message),
    }),
  );
});

import { afterAll, describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import {
  generate,
  generateText,
  openQwenTokenizer,
  type TextDelta,
  type TextRequest,
  type Tokenizer,
} from "../../../runtime/index.ts";
import { collect, greedy, miniPath, openMini } from "./generate-support.ts";

const device = openDevice({ threads: 2 });
const model = openMini(device);
const tokenizer = openQwenTokenizer(miniPath);
afterAll(() => {
  tokenizer[Symbol.dispose]();
  model[Symbol.dispose]();
  device[Symbol.dispose]();
});

const prompt = tokenizer.encode("It was a dark night, and");

function run(changes: Partial<TextRequest> = {}): Promise<TextDelta[]> {
  return collect(
    generateText(model, tokenizer, { prompt, maxNewTokens: 24, sampling: greedy, ...changes }),
  );
}

const textOf = (deltas: readonly TextDelta[]) => deltas.map(({ text }) => text).join("");

describe("generated text", () => {
  test("is the text of the generated ids, joined from its deltas", async () => {
    const ids = await collect(
      generate(model, {
        ...{ prompt, maxNewTokens: 24, sampling: greedy },
        allowed: tokenizer.vocabularySize,
      }),
    );
    const deltas = await run();
    expect(textOf(deltas)).toBe(tokenizer.decode(ids, { skipSpecial: true }));
    expect(deltas.at(-1)).toMatchObject({ tokens: 24, finish: "length" });
    expect(deltas.slice(0, -1).every(({ finish }) => finish === undefined)).toBe(true);
  });

  test("ends before a stop string that may lie across tokens", async () => {
    const whole = textOf(await run());
    const stop = whole.slice(9, 14);
    const deltas = await run({ stop: { strings: [stop] } });
    expect(textOf(deltas)).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(deltas.at(-1)?.finish).toBe("stop");
    expect(deltas.at(-1)?.tokens).toBeLessThan(24);
  });

  test("ends before stop ids", async () => {
    const ids = await collect(
      generate(model, { prompt, maxNewTokens: 24, sampling: greedy, allowed: 4096 }),
    );
    const stop = ids[6]!;
    const deltas = await run({ stop: { ids: [[stop]] } });
    expect(textOf(deltas)).toBe(tokenizer.decode(ids.slice(0, ids.indexOf(stop))));
    expect(deltas.at(-1)).toMatchObject({ finish: "stop", tokens: ids.indexOf(stop) + 1 });
  });

  test("never asks the tokenizer for an id without a token", async () => {
    const padded: Tokenizer = {
      vocabularySize: 50,
      specials: tokenizer.specials,
      encode: (text) => tokenizer.encode(text),
      decode: (ids) => tokenizer.decode(ids),
      bytesOf: (id) => {
        if (id >= 50) throw new RangeError(`id ${id} has no token`);
        return tokenizer.bytesOf(id);
      },
      isSpecial: () => false,
      [Symbol.dispose]: () => undefined,
    };
    const sampling = { ...greedy, temperature: 1000 };
    const options = { prompt, maxNewTokens: 50, sampling };
    const deltas = await collect(generateText(model, padded, options));
    expect(deltas.at(-1)).toMatchObject({ tokens: 50, finish: "length" });
  });
});

import { afterAll, describe, expect, test } from "vitest";
import { detectedIsa, openDevice } from "../../../kernels/index.ts";
import { createSampler } from "../../../runtime/generation/sampler.ts";
import { generate, type Model, PrefixCache, type SamplingOptions } from "../../../runtime/index.ts";
import { type Implementation, openImplementation } from "../../support/kernels.ts";
import { sequenceLogits } from "../../support/logits.ts";
import { collect, greedy, openMini, request } from "./generate-support.ts";

const device = openDevice({ threads: 2 });
const model = openMini(device);
afterAll(() => {
  model[Symbol.dispose]();
  device[Symbol.dispose]();
});

function chunksOf(total: number, size: number): number[] {
  const whole = Array.from({ length: Math.floor(total / size) }, () => size);
  return total % size === 0 ? whole : [...whole, total % size];
}

describe("a prompt computed in chunks", () => {
  const prompt = Int32Array.from(request(model).prompt);
  const whole = sequenceLogits(model, prompt);

  test.each([1, 7, 64])("of %i rows gives bitwise the logits of one pass", async (size) => {
    const chunked = await sequenceLogits(model, prompt, chunksOf(prompt.length, size));
    expect(Buffer.from(chunked.buffer).equals(Buffer.from((await whole).buffer))).toBe(true);
  });

  test.each([1, 7, 64, 99, 100])("of %i rows is continued with the same tokens", async (size) => {
    const tokens = await collect(generate(model, request(model, { chunkRows: size })));
    expect(tokens).toEqual(await collect(generate(model, request(model))));
  });
});

describe("sampling", () => {
  const sampling = { ...greedy, temperature: 1.2, topP: 0.95 };

  test("repeats itself with the same seed and differs with another", async () => {
    const sample = (seed: number) =>
      collect(generate(model, request(model, { sampling: { ...sampling, seed } })));
    const first = await sample(7);
    expect(await sample(7)).toEqual(first);
    expect(await sample(8)).not.toEqual(first);
  });

  test.each<{ isa: Implementation; changes: Partial<SamplingOptions> }>([
    { isa: detectedIsa(), changes: {} },
    { isa: detectedIsa(), changes: { repetitionPenalty: 1.2 } },
    { isa: detectedIsa(), changes: { frequencyPenalty: 0.4, topP: 1 } },
    { isa: "cuda", changes: { repetitionPenalty: 1.2 } },
  ])("draws on $isa what the sampler draws from its logits: $changes", async ({ isa, changes }) => {
    using own = openImplementation(isa);
    using there = openMini(own);
    const options = { ...sampling, ...changes };
    const prompt = Array.from({ length: 30 }, (_, i) => (i * 37) % 3000);
    const made = request(there, { prompt, sampling: options, allowed: 4000, maxNewTokens: 6 });
    const history = [...prompt];
    const sampler = createSampler(options, prompt.length);
    using cache = new PrefixCache();
    const sequence = cache.sequence(there, prompt, made.maxNewTokens);
    let tokens = prompt;
    for (let i = 0; i < made.maxNewTokens; i++) {
      using logits = sequence.advance(tokens);
      tokens = [sampler.sample(await logits.read(), history, made.allowed)];
      history.push(...tokens);
    }
    expect(await collect(generate(there, made))).toEqual(history.slice(prompt.length));
  });

  test("with top-k 1 chooses what greedy decoding chooses", async () => {
    const one = { ...sampling, topK: 1, repetitionPenalty: 1 + Number.EPSILON };
    const tokens = await collect(generate(model, request(model, { sampling: one })));
    expect(tokens).toEqual(await collect(generate(model, request(model))));
  });

  test.each([
    ["greedy", greedy],
    ["greedy with a repetition penalty", { ...greedy, repetitionPenalty: 1.3 }],
    ["sampled", { ...sampling, temperature: 50, topP: 1 }],
  ])("never chooses an id without a token, %s", async (_name, options) => {
    const allowed = 5;
    const made = request(model, { sampling: options, allowed, maxNewTokens: 40 });
    const tokens = await collect(generate(model, made));
    expect(tokens).toHaveLength(40);
    expect(Math.max(...tokens)).toBeLessThan(allowed);
  });
});

describe("the end of a generation", () => {
  test("comes right after the first stop sequence", async () => {
    const tokens = await collect(generate(model, request(model)));
    const stop = tokens.slice(3, 5);
    const first = tokens.findIndex((id, i) => id === stop[0] && tokens[i + 1] === stop[1]);
    const stopped = await collect(
      generate(model, request(model, { stopIds: [[model.shape.vocabulary], stop] })),
    );
    expect(stopped).toEqual(tokens.slice(0, first + 2));
  });

  test("comes with the signal's reason when it is aborted while decoding", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const seen: number[] = [];
    const run = async () => {
      for await (const id of generate(model, request(model, { signal: controller.signal }))) {
        seen.push(id);
        if (seen.length === 3) controller.abort(reason);
      }
    };
    await expect(run()).rejects.toBe(reason);
    expect(seen).toHaveLength(3);
  });

  test("comes before any token when the signal was aborted already", async () => {
    const signal = AbortSignal.abort(new Error("early"));
    await expect(generate(model, request(model, { signal })).next()).rejects.toThrow("early");
  });

  test("leaves no memory behind, whether run to its end, left or aborted", async () => {
    await collect(generate(model, request(model)));
    const before = device.memory().live;
    await collect(generate(model, request(model)));
    for await (const _id of generate(model, request(model))) break;
    const signal = AbortSignal.abort();
    await generate(model, request(model, { signal }))
      .next()
      .catch(() => undefined);
    expect(device.memory().live).toBe(before);
  });
});

describe("a request is refused", () => {
  const cases = (m: Model): [string, object, string][] => [
    ["an empty prompt", { prompt: [] }, "GENERATION_PROMPT"],
    ["an id beyond the vocabulary", { prompt: [1, m.shape.vocabulary] }, "GENERATION_PROMPT"],
    ["a negative id", { prompt: [-1] }, "GENERATION_PROMPT"],
    ["an id that is no integer", { prompt: [1.5] }, "GENERATION_PROMPT"],
    ["more tokens than the model is meant for", { maxNewTokens: 1949 }, "GENERATION_LENGTH"],
    ["no new tokens", { maxNewTokens: 0 }, "GENERATION_OPTION"],
    ["chunks of no rows", { chunkRows: 0 }, "GENERATION_OPTION"],
    ["more allowed ids than rows", { allowed: m.shape.vocabulary + 1 }, "GENERATION_OPTION"],
    ["an empty stop sequence", { stopIds: [[]] }, "GENERATION_OPTION"],
  ];
  test.each(cases(model))("for %s", (_name, changes, code) => {
    expect(() => generate(model, request(model, changes))).toThrow(
      expect.objectContaining({ name: "GenerationError", code }),
    );
  });

  test("but not for exactly as many tokens as the model is meant for", async () => {
    const first = await generate(model, request(model, { maxNewTokens: 1948 })).next();
    expect(first.done).toBe(false);
  });
});

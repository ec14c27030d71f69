// Letters by logits and answers in words, from the bundled model: what it says is what its logits and `generate` say.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, openDevice } from "../../../../kernels/index.ts";
import type { LettersQuery } from "../../../../runtime/evaluation/tasks/task.ts";
import {
  chatPrompt,
  defaultSampling,
  defaultSystem,
  EngineAnswerer,
  type GenerationConfig,
  generateText,
  type Model,
  openModel,
  openQwenTokenizer,
  readGenerationConfig,
  type Tokenizer,
} from "../../../../runtime/index.ts";
import { qwenMini } from "../../../quantizer/quantized.ts";
import { sequenceLogits } from "../../../support/logits.ts";

let device: Device;
let model: Model;
let tokenizer: Tokenizer;
let config: GenerationConfig;
beforeAll(() => {
  device = openDevice({ threads: 2 });
  model = openModel(qwenMini, device);
  tokenizer = openQwenTokenizer(qwenMini);
  config = readGenerationConfig(qwenMini);
});
afterAll(() => {
  tokenizer[Symbol.dispose]();
  model[Symbol.dispose]();
  device[Symbol.dispose]();
});

const answerer = (cacheTokens = 4096) =>
  new EngineAnswerer(model, tokenizer, { config, cacheTokens });
const letters = [" A", " B", " C", " D"];
const about = "Questions with answers.\n\nQuestion: 1 + 1?\nA. 2\nB. 3\nC. 4\nD. 5\nAnswer: A\n\n";
const ask = (question: string, more: Partial<LettersQuery> = {}): LettersQuery => ({
  ...{ kind: "letters", prompt: `${about}${question}`, letters, maxTokens: 2047 },
  ...more,
});
const questions = ["Question: 2?\nAnswer:", "Question: 3?\nA. x\nAnswer:", "Q"];

async function expectedLogits(prompt: string, maxTokens = 2047): Promise<readonly number[]> {
  const ids = tokenizer.encode(prompt).subarray(-maxTokens);
  const all = await sequenceLogits(model, ids);
  const last = all.subarray((ids.length - 1) * model.shape.vocabulary);
  return letters.map((letter) => last[tokenizer.encode(letter)[0]!]!);
}

describe("letters", () => {
  test("have the logits of a pass over the prompt alone, to the bit, however many are asked together", async () => {
    await using engine = answerer();
    const replies = await Promise.all(questions.map((each) => engine.letterLogits(ask(each))));
    for (const [i, { logits, text, isCut }] of replies.entries()) {
      const expected = await expectedLogits(about + questions[i]);
      expect(logits).toEqual(expected);
      expect(text).toBe(letters[expected.indexOf(Math.max(...expected))]);
      expect(isCut).toBe(false);
    }
    // What they begin with is computed once; that changes no bit.
    expect((await engine.letterLogits(ask(questions[1]!))).logits).toEqual(replies[1]?.logits);
  });

  test("of a long prompt are those of its end", async () => {
    await using engine = answerer();
    const { logits, isCut } = await engine.letterLogits(ask(questions[0]!, { maxTokens: 20 }));
    expect(logits).toEqual(await expectedLogits(about + questions[0], 20));
    // That is the benchmark's own limit, and not the model's.
    expect(isCut).toBe(false);
    const long = "word ".repeat(5000);
    const maxTokens = Number.MAX_SAFE_INTEGER;
    const cut = await engine.letterLogits(ask(long, { maxTokens }));
    expect(cut.isCut).toBe(true);
  });

  test("that are equal go to the first", async () => {
    await using engine = answerer();
    const twice = ask(questions[0]!, { letters: [" D", " D"] });
    expect((await engine.letterLogits(twice)).text).toBe(" D");
  });

  test("that are no single token are refused", async () => {
    await using engine = answerer();
    const bad = engine.letterLogits(ask("x", { letters: [" A", " Answer: E"] }));
    await expect(bad).rejects.toMatchObject({
      ...{ code: "EVALUATION_MISMATCH", message: expect.stringContaining('" Answer: E"') },
    });
  });
});

async function alone(prompt: Int32Array, maxNewTokens: number, strings: readonly string[]) {
  const { endOfText, imStart, imEnd } = tokenizer.specials;
  let text = "";
  for await (const delta of generateText(model, tokenizer, {
    ...{ prompt, maxNewTokens, sampling: { ...defaultSampling, temperature: 0 } },
    stop: { ids: [[endOfText], [imStart], [imEnd]], strings },
  })) {
    text += delta.text;
  }
  return text;
}

test("text goes on greedily, without the penalties of generation_config.json, up to a stop", async () => {
  await using engine = answerer();
  const prompt = "It was a dark night";
  const query = { kind: "continue", prompt, maxNewTokens: 24, allowedSpecial: "all" } as const;
  const free = await engine.generate({ ...query, stop: [] });
  expect(free.text).toBe(await alone(tokenizer.encode(prompt), 24, []));
  const stop = free.text.slice(10, 14);
  const cut = await engine.generate({ ...query, stop: [stop] });
  expect(cut.text).toBe(free.text.slice(0, free.text.indexOf(stop)));
});

test("a chat model answers in ChatML, spaces around it aside", async () => {
  await using engine = answerer();
  const message = "What is 2 + 3?";
  const { text } = await engine.generate({ kind: "chat", message });
  const prompt = chatPrompt(tokenizer, {
    ...{ system: defaultSystem, history: [], query: message, maxWindow: config.maxWindow },
  });
  expect(text).toBe((await alone(prompt, config.maxNewTokens, [])).trim());
  expect(text).not.toBe("");
});

test("a prompt that leaves no room loses its beginning, and says so", async () => {
  await using engine = answerer(256);
  const query = { kind: "continue", maxNewTokens: 16, stop: [], allowedSpecial: "all" } as const;
  const prompt = "night ".repeat(400);
  expect(await engine.generate({ ...query, prompt })).toMatchObject({ isCut: true });
  await expect(engine.generate({ ...query, prompt, maxNewTokens: 256 })).rejects.toMatchObject({
    code: "EVALUATION_OPTION",
  });
});

test("a model whose logits are not finite is told", async () => {
  const logits = (hidden: Parameters<Model["logits"]>[0]) => {
    using real = model.logits(hidden);
    const shape = [...real.shape];
    const values = new Float32Array(shape.reduce((a, b) => a * b)).fill(Number.NaN);
    return device.from("f32", values, shape);
  };
  const broken = new Proxy(model, {
    get: (target, name) => {
      if (name === "logits") return logits;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  await using engine = new EngineAnswerer(broken, tokenizer, { config, cacheTokens: 4096 });
  await expect(engine.letterLogits(ask("x"))).rejects.toMatchObject({
    code: expect.stringMatching(/NOT_FINITE/),
  });
});

import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openQwenTokenizer, type Tokenizer } from "../../../runtime/index.ts";
import { parseReact, type ReactDelta, ReactStream } from "../../../runtime/server/react.ts";
import { collect, miniPath } from "../generation/generate-support.ts";
import { scriptedClient, TestServer } from "./support.ts";

let tokenizer: Tokenizer;
beforeAll(() => {
  tokenizer = openQwenTokenizer(miniPath);
});
afterAll(() => tokenizer[Symbol.dispose]());

const weather = {
  name: "get_weather",
  description: "The weather of a city. Format the arguments as a JSON object.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const tools: OpenAI.ChatCompletionFunctionTool[] = [{ type: "function", function: weather }];
const user = { role: "user", content: "Is it warmer in Rome or in Oslo?" } as const;
const callOf = (city: string, thought: string) =>
  `${thought}\nAction: get_weather\nAction Input: {"city": "${city}"}\nObservation: 99`;
const final = " I now know the final answer.\nFinal Answer: In Rome, by 20 degrees.";

const instruction = `Answer the following questions as best you can. You have access to the following APIs:

get_weather: Call this tool to interact with the get_weather API. What is the get_weather API useful for? The weather of a city. Format the arguments as a JSON object. Parameters: {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

Use the following format:

Question: the input question you must answer
Thought: you should always think about what to do
Action: the action to take, should be one of [get_weather]
Action Input: the input to the action
Observation: the result of the action
... (this Thought/Action/Action Input/Observation can be repeated zero or more times)
Thought: I now know the final answer
Final Answer: the final answer to the original input question

Begin!`;

/** The prompt of the last of three turns of the model. */
const lastPrompt = `<|im_start|>system
You are a helpful assistant.<|im_end|>
<|im_start|>user
${instruction}

Question: ${user.content}<|im_end|>
<|im_start|>assistant
Thought: Rome first.
Action: get_weather
Action Input: {"city": "Rome"}
Observation: 25
Thought: Now Oslo.
Action: get_weather
Action Input: {"city": "Oslo"}
Observation: 5
Thought:`;

describe("function calling with tools", () => {
  const script = [callOf("Rome", "Thought: Rome first."), callOf("Oslo", " Now Oslo."), final];

  test.each([1, 3, 1000])(
    "makes two calls, then answers; streamed in pieces of %i",
    async (piece) => {
      const { client, engine } = scriptedClient(tokenizer, [...script, ...script], piece);
      for (const isStreamed of [false, true]) {
        const messages: OpenAI.ChatCompletionMessageParam[] = [user];
        const turn = async () => {
          const body = { model: "scripted", messages, tools } as const;
          const completion = isStreamed
            ? await client.chat.completions.stream(body).finalChatCompletion()
            : await client.chat.completions.create(body);
          return completion.choices[0]!;
        };
        for (const [i, city] of ["Rome", "Oslo"].entries()) {
          const { message, finish_reason } = await turn();
          expect(finish_reason).toBe("tool_calls");
          expect(message.content).toBe(["Rome first.", "Now Oslo."][i]);
          const [call] = message.tool_calls!;
          expect(message.tool_calls).toHaveLength(1);
          expect(call).toMatchObject({ type: "function", function: { name: "get_weather" } });
          expect(call?.type === "function" && JSON.parse(call.function.arguments)).toEqual({
            city,
          });
          const result = {
            role: "tool",
            tool_call_id: call!.id,
            content: ["25", "5"][i]!,
          } as const;
          messages.push({ ...message, tool_calls: message.tool_calls! }, result);
        }
        const { message, finish_reason } = await turn();
        expect(message.content).toBe("In Rome, by 20 degrees.");
        expect(message.tool_calls ?? []).toEqual([]);
        expect(finish_reason).toBe("stop");
        expect(engine.prompts.at(-1)).toBe(lastPrompt);
      }
    },
  );

  test("shows several calls of a message as if they had been made one by one", async () => {
    const { client, engine } = scriptedClient(tokenizer, [final]);
    const call = (id: string, city: string) =>
      ({
        id,
        type: "function",
        function: { name: "get_weather", arguments: `{"city": "${city}"}` },
      }) as const;
    await client.chat.completions.create({
      ...{ model: "scripted", tools },
      messages: [
        user,
        { role: "assistant", content: null, tool_calls: [call("a", "Rome"), call("b", "Oslo")] },
        { role: "tool", tool_call_id: "a", content: "25" },
        { role: "tool", tool_call_id: "b", content: "5" },
      ],
    });
    expect(engine.prompts[0]).toContain(
      'Action Input: {"city": "Rome"}\nObservation: 25\nThought: \nAction: get_weather\n' +
        'Action Input: {"city": "Oslo"}\nObservation: 5\nThought:',
    );
  });

  test("describes tools in the turn before the question", async () => {
    const { client, engine } = scriptedClient(tokenizer, [final]);
    await client.chat.completions.create({
      ...{ model: "scripted", tools },
      messages: [
        { role: "system", content: "\nBe brief. " },
        { role: "user", content: "Hello" },
        { role: "assistant", content: "Hi." },
        user,
      ],
    });
    expect(engine.prompts[0]).toBe(
      `<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n${instruction}\n\nQuestion: Hello<|im_end|>\n` +
        "<|im_start|>assistant\nThought: I now know the final answer.\nFinal Answer: Hi.<|im_end|>\n" +
        `<|im_start|>user\n${user.content}<|im_end|>\n<|im_start|>assistant\n`,
    );
  });

  test("leaves tools out where none may be called, and begins a call that must be made", async () => {
    const answers = [
      "It depends.",
      ' {"city": "Rome"}\nObservation:',
      " get_weather\nAction Input: {}",
    ];
    const { client, engine } = scriptedClient(tokenizer, answers);
    const ask = (tool_choice: OpenAI.ChatCompletionToolChoiceOption, offered = tools) =>
      client.chat.completions.create({
        ...{ model: "scripted", messages: [user], tool_choice },
        tools: offered,
      });
    expect((await ask("none")).choices[0]?.message.content).toBe("It depends.");
    expect(engine.prompts[0]).not.toContain("APIs");
    const named = await ask({ type: "function", function: { name: "get_weather" } });
    expect(named.choices[0]?.message.tool_calls?.[0]).toMatchObject({
      function: { name: "get_weather", arguments: '{"city": "Rome"}' },
    });
    expect(engine.prompts[1]).toMatch(/Action: get_weather\nAction Input:$/);
    const two = [...tools, { type: "function", function: { name: "other" } } as const];
    const { choices } = await ask("required", two);
    expect(choices[0]?.message.tool_calls?.[0]).toMatchObject({
      function: { name: "get_weather" },
    });
    await expect(ask({ type: "function", function: { name: "nothing" } })).rejects.toMatchObject({
      ...{ status: 400, param: "tool_choice" },
    });
  });

  test("refuses messages whose calls and results do not fit together", async () => {
    const { client } = scriptedClient(tokenizer, []);
    const assistant: OpenAI.ChatCompletionMessageParam = {
      ...{ role: "assistant", content: null },
      tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }],
    };
    const cases: [OpenAI.ChatCompletionMessageParam[], RegExp][] = [
      [[user, { role: "tool", tool_call_id: "a", content: "1" }], /before a tool message/],
      [[user, assistant, { role: "tool", tool_call_id: "b", content: "1" }], /with id "b"/],
      [[user, assistant], /result of tool call "a" is missing/],
      [[user, assistant, user], /result of tool call "a" is missing|between two user/],
      [[user, user], /between two user messages/],
      [[{ role: "assistant", content: "Hi" }], /before an assistant/],
      [[user, { role: "system", content: "late" }], /can only be the first/],
      [[{ role: "system", content: "alone" }], /at least one user message/],
    ];
    for (const [messages, message] of cases) {
      const asked = client.chat.completions.create({ model: "scripted", messages, tools });
      await expect(asked).rejects.toThrow(message);
    }
  });
});

test("functions, the older form, are called and answered alike", async () => {
  const { client, engine } = scriptedClient(tokenizer, [
    callOf("Rome", "Thought: Rome first."),
    final,
    callOf("Rome", "Thought: Rome first."),
  ]);
  const messages: OpenAI.ChatCompletionMessageParam[] = [user];
  const body = { model: "scripted", messages, functions: [weather] };
  const { choices } = await client.chat.completions.create(body);
  expect(choices[0]).toMatchObject({
    finish_reason: "function_call",
    message: { function_call: { name: "get_weather", arguments: '{"city": "Rome"}' } },
  });
  const { function_call, content } = choices[0]!.message;
  messages.push(
    { role: "assistant", content, function_call: function_call! },
    { role: "function", name: "get_weather", content: "25" },
  );
  const answer = await client.chat.completions.create(body);
  expect(answer.choices[0]?.message.content).toBe("In Rome, by 20 degrees.");
  expect(engine.prompts[1]).toMatch(/Action Input: \{"city": "Rome"\}\nObservation: 25\nThought:$/);
  const stream = await client.chat.completions.create({ ...body, messages: [user], stream: true });
  const chunks = await collect(stream);
  const parts = chunks.flatMap(({ choices }) => choices[0]?.delta.function_call ?? []);
  expect(parts.map(({ name }) => name ?? "").join("")).toBe("get_weather");
  expect(parts.map((part) => part.arguments ?? "").join("")).toBe('{"city": "Rome"}');
  expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("function_call");
});

test("a model that must call a function does, with what it makes of the arguments", async () => {
  await using server = await TestServer.start();
  const { choices } = await server.client().chat.completions.create({
    ...{ model: "qwen-mini", messages: [user], tools, temperature: 0, max_tokens: 12 },
    tool_choice: { type: "function", function: { name: "get_weather" } },
  });
  expect(choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { name: "get_weather" } });
});

describe("reading what a model wrote", () => {
  const texts = [
    "Hello there.",
    "Thought: easy\nFinal Answer: 42",
    "Thought: a\nFinal Answer: 1\n\n  2 ",
    'Thought: look\nAction: find\nAction Input: {"a": "x\\ny"}\n',
    "Action: find\nAction Input: {}",
    "Thought: hm\nAction: find\nno input",
    "\nAction:\nAction Input: {}",
    "thinking\nAction: f\nAction Input:\n\n [1,\n 2]\n\nObservation: no",
    "",
  ];

  test.each(texts)("agrees with itself, whole or in pieces: %j", (whole) => {
    // A server stops there.
    const text = whole.replace(/Observation:.*/s, "");
    const { content, call } = parseReact(text);
    for (const size of [1, 2, 5, 100]) {
      const stream = new ReactStream();
      const deltas: ReactDelta[] = [];
      for (let at = 0; at < text.length; at += size) {
        deltas.push(...stream.push(text.slice(at, at + size)));
      }
      deltas.push(...stream.finish());
      const join = (kind: string) =>
        deltas.map((delta) => (delta.kind === kind && "text" in delta ? delta.text : "")).join("");
      expect(join("content")).toBe(call === undefined ? content.trimEnd() : content);
      expect(join("arguments")).toBe(call?.arguments ?? "");
      expect(deltas.flatMap((delta) => (delta.kind === "call" ? delta.name : []))).toEqual(
        call === undefined ? [] : [call.name],
      );
    }
  });
});

import { afterAll, describe, expect, test } from "vitest";
import { rougeL } from "../../../../runtime/evaluation/tasks/rouge.ts";
import type { Reply } from "../../../../runtime/evaluation/tasks/task.ts";
import { toolUse } from "../../../../runtime/evaluation/tasks/tool-use.ts";
import { temporaryDirectory } from "../../../support/tiny-checkpoint.ts";
import { optionsFor, write } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const reply = (text: string): Reply => ({ text, logits: [], isCut: false });
const call = (name: string, input: string) =>
  `Thought: I need a tool.\nAction: ${name}\nAction Input: ${input}`;

const golden = call("weather", '{"city": "Paris", "day": 3}');
write(
  temporary.path,
  "exam_plugin_v20231206_react_positive.jsonl",
  `${JSON.stringify({ prompt: "Weather in Paris?", response: golden })}\n`,
);
write(
  temporary.path,
  "exam_plugin_v20231206_react_negative.jsonl",
  `${JSON.stringify({ prompt: "Say hi", response: "Thought: no tool.\nFinal Answer: hi" })}\n`,
);
write(temporary.path, "exam_plugin_v20230803_react_positive.jsonl", "not the newest");

describe("a call", () => {
  const options = optionsFor(temporary.path, { mode: "chat" });
  const [positive, negative] = toolUse.load(options).items;

  test.each([
    ["is the same", golden, 1, 1],
    ["is written another way", call("Weather ", "{day: 3, 'city': 'Paris',}"), 1, 1],
    ["has an observation", `${golden}\nObservation: sunny`, 1, 1],
    ["is of another tool", call("time", '{"city": "Paris", "day": 3}'), 0, 1],
    ["has no input that can be read", call("weather", "{city"), 1, 0],
    ["is none", "Thought: no.\nFinal Answer: sunny", 0, 0],
  ])("that %s", (_what, text, selection, input) => {
    expect(positive?.grade(reply(text))).toMatchObject({
      scores: { "tool-use-selection": selection, "tool-use-input": input },
    });
  });

  test("with other input has a share of the words", () => {
    const grade = positive?.grade(reply(call("weather", '{"city": "Rome", "day": 3}')));
    // One of 15 words differs, spaces aside.
    expect(grade).toMatchObject({ scores: { "tool-use-input": expect.closeTo(14 / 15, 12) } });
  });

  test("is wrong where none is wanted", () => {
    const score = (text: string) => negative?.grade(reply(text));
    expect(score(golden)).toMatchObject({ scores: { "tool-use-false-positive": 1 } });
    expect(score("Action: x")).toMatchObject({ scores: { "tool-use-false-positive": 0 } });
  });
});

test("measures that no item counts for are left out", () => {
  const options = optionsFor(temporary.path, { mode: "chat", limit: 1 });
  expect(toolUse.load(options).measures.map(({ id }) => id)).toEqual([
    ...["tool-use-selection", "tool-use-input"],
  ]);
});

test("a base model is refused, and missing data named", () => {
  expect(() => toolUse.load(optionsFor(temporary.path, { mode: "base" }))).toThrow(
    expect.objectContaining({ code: "EVALUATION_OPTION" }),
  );
  const empty = temporaryDirectory();
  expect(() => toolUse.load(optionsFor(empty.path, { mode: "chat" }))).toThrow(
    expect.objectContaining({
      ...{ code: "EVALUATION_DATA", message: expect.stringContaining("exam_plugin_v20231206") },
    }),
  );
  empty.remove();
});

describe("Rouge-L", () => {
  // Worked in Lin (2004), section 3.1: LCS of 3 of 4 words either way, and of 2.
  test.each([
    ["police kill the gunman", "police killed the gunman", 3 / 4],
    ["the gunman kill police", "police killed the gunman", 2 / 4],
    ["a b c", "a b c", 1],
    ["a b", "a x b y", 2 / 3],
    ["", "a", 0],
    ["", "", 0],
    ["x", "y", 0],
  ])("of %j against %j", (text, reference, expected) => {
    expect(rougeL(text, reference)).toBeCloseTo(expected, 12);
    expect(rougeL(reference, text)).toBeCloseTo(expected, 12);
  });
});

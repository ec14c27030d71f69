import { describe, expect, test } from "vitest";
import { ChatSession } from "../../../cli/chat/session.ts";
import { fakeEngine, settings } from "./fakes.ts";

const never = new AbortController().signal;
const ask = (session: ChatSession, query: string, shown: string[] = []) =>
  session.answer(query, never, (text) => shown.push(text));

describe("a chat session", () => {
  test("puts earlier turns before the next message", async () => {
    const engine = fakeEngine((query) => [`to ${query}`]);
    const session = new ChatSession(engine, "S", settings);
    await ask(session, "a");
    await ask(session, "b");
    expect(engine.prompts).toEqual(["S|a|", "S|a|to a|b|"]);
    expect(session.history.at(-1)).toEqual({ query: "b", response: "to b" });
  });

  test("shows answers piece by piece without white space at the ends, and remembers them so", async () => {
    const engine = fakeEngine(() => ["\n", " one", " ", "two", "\n\n", "three", " \n", ""]);
    const session = new ChatSession(engine, "S", settings);
    const shown: string[] = [];
    await ask(session, "a", shown);
    expect(shown).toEqual(["one", " two", "\n\nthree"]);
    expect(session.history).toEqual([{ query: "a", response: "one two\n\nthree" }]);
  });

  test("forgets a turn that was interrupted, and says what came of it", async () => {
    const stop = new AbortController();
    let pieces = 0;
    const onPiece = () => {
      pieces += 1;
      if (pieces === 3) stop.abort();
    };
    const session = new ChatSession(
      fakeEngine(() => ["x", "y", "z"], { onPiece }),
      "S",
      settings,
    );
    const answer = await session.answer("a", stop.signal, () => {});
    expect(answer).toMatchObject({ text: "xy", finish: "interrupted" });
    expect(session.history).toEqual([]);
  });

  test("ends an answer at its limit of tokens", async () => {
    const session = new ChatSession(
      fakeEngine(() => Array.from("abcdef")),
      "S",
      { ...settings, maxNewTokens: 4 },
    );
    expect(await ask(session, "q")).toMatchObject({ text: "abcd", finish: "length" });
  });

  test("leaves out the oldest turns beyond the window, and says how many", async () => {
    const engine = fakeEngine(() => ["1234"]);
    // Each turn is 7 characters, the system text 1: two turns are 15, and 15 < 16.
    const session = new ChatSession(engine, "S", { ...settings, maxWindow: 16 });
    for (const query of ["a", "b", "c"]) await ask(session, query);
    expect(await ask(session, "d")).toMatchObject({ droppedTurns: 1 });
    expect(engine.prompts.at(-1)).toBe("S|b|1234|c|1234|d|");
  });

  test("leaves out turns for which the model has no room, whatever the window", async () => {
    const engine = fakeEngine(() => ["1234"], { maxLength: 24 });
    const session = new ChatSession(engine, "S", settings);
    for (const query of ["a", "b", "c", "d"]) await ask(session, query);
    for (const prompt of engine.prompts) expect(prompt.length).toBeLessThan(24);
    // Half of the model's length is kept for the answer where leaving out turns can bring that about.
    expect(engine.prompts.at(-1)).toBe("S|c|1234|d|");
  });

  test("a message that fits in no way is refused, and the chat goes on", async () => {
    const session = new ChatSession(
      fakeEngine(() => ["x"], { maxLength: 20 }),
      "S",
      settings,
    );
    await expect(ask(session, "q".repeat(30))).rejects.toMatchObject({ code: "GENERATION_LENGTH" });
    // Longer than half, so that the answer has what is left.
    expect(await ask(session, "q".repeat(12))).toMatchObject({ text: "x" });
    expect(session.history).toHaveLength(1);
  });

  test("a failure of generation is no interruption", async () => {
    const engine = fakeEngine(() => {
      throw new Error("broken");
    });
    await expect(ask(new ChatSession(engine, "S", settings), "a")).rejects.toThrow("broken");
  });
});

import { beforeEach, describe, expect, test } from "vitest";
import { runChatCommand } from "../../../cli/chat/commands.ts";
import { ChatSession } from "../../../cli/chat/session.ts";
import { fakeEngine, settings } from "./fakes.ts";

let engine: ReturnType<typeof fakeEngine>;
let session: ChatSession;
beforeEach(() => {
  engine = fakeEngine(() => ["fine"]);
  session = new ChatSession(engine, "S", settings);
});
const say = (line: string) => {
  const outcome = runChatCommand(session, line);
  return outcome?.kind === "print" ? outcome.text : outcome;
};
const ask = (query: string) => session.answer(query, new AbortController().signal, () => {});

describe("chat commands", () => {
  test.each([":exit", ":quit", ":q"])("%s leaves", (line) => {
    expect(say(line)).toEqual({ kind: "leave" });
  });

  test.each([":clear", ":cl"])("%s clears the screen", (line) => {
    expect(say(line)).toEqual({ kind: "clear" });
  });

  test(":help names every command", () => {
    for (const name of ["clear-his", "history", "system", "seed", "conf", "reset-conf"]) {
      expect(say(":help")).toContain(`:${name}`);
    }
  });

  test("what is no command is for the model", () => {
    for (const line of [":unknown", ":)", "no :help", ":"]) expect(say(line)).toBeUndefined();
  });

  test(":history shows turns, :clear-his forgets them", async () => {
    await ask("how are you");
    expect(say(":history")).toBe("User[0]: how are you\nModel[0]: fine");
    expect(say(":clh")).toBe("1 turn forgotten");
    expect(session.history).toEqual([]);
  });

  test(":conf changes what the next answer is drawn with", async () => {
    say(":conf temperature=0.5 top_k=3 maxNewTokens=9");
    await ask("x");
    expect(engine.used.at(-1)).toEqual({
      ...settings,
      temperature: 0.5,
      topK: 3,
      maxNewTokens: 9,
    });
    say(":reset-conf");
    expect(session.settings).toEqual(settings);
  });

  test.each([
    ":conf top_p=2",
    ":conf temperature=0.5 top_k=-1",
    ":conf max_new_tokens=0.5",
    ":conf nothing=1",
    ":conf top_p",
    ":conf top_p=",
    ":conf temperature=process.exit(1)",
    ":seed abc",
    ":seed -1",
  ])("%s says what is wrong and changes nothing", (line) => {
    expect(say(line)).toMatch(/expected|must be|no setting/);
    expect(session.settings).toEqual(settings);
  });

  test(":seed and :system show and change", () => {
    expect(say(":seed")).toBe("seed = 1234");
    expect(say(":seed 7")).toBe("seed = 7");
    expect(say(":system Be brief. Very.")).toBe("system: Be brief. Very.");
    expect(session.system).toBe("Be brief. Very.");
  });
});

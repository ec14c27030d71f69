import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { runChatCommand } from "../../../cli/chat/commands.ts";
import { ChatSession } from "../../../cli/chat/session.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
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
    const names = [
      "system",
      "reset",
      "retry",
      "history",
      "seed",
      "config",
      "save",
      "load",
      "clear",
    ];
    for (const name of names) expect(say("/help")).toContain(`/${name}`);
    for (const name of ["clear-his", "conf", "reset-conf"]) {
      expect(say(":help")).toContain(`:${name}`);
    }
  });

  test("what is no command is for the model", () => {
    const lines = [":unknown", ":)", "no :help", ":", "/", "/etc/hosts is what?", "/cat says"];
    for (const line of lines) expect(say(line)).toBeUndefined();
  });

  test("a slash before a word that is nearly a command is told", () => {
    expect(say("/histry")).toMatch(/no command \/histry; did you mean \/history\?/);
    expect(say("/sead 7")).toMatch(/did you mean \/seed\?/);
    expect(say("/something")).toMatch(/no command \/something; \/help lists all/);
  });

  test("/retry asks the last message again with the next seed, answered or interrupted", async () => {
    expect(say("/retry")).toMatch(/no message/);
    await ask("a");
    await ask("b");
    expect(say("/retry")).toEqual({ kind: "ask", message: "b" });
    expect(session.history).toHaveLength(1);
    expect(session.settings.seed).toBe(settings.seed + 1);
    await session.answer("c", AbortSignal.abort(), () => {});
    expect(say("/retry")).toEqual({ kind: "ask", message: "c" });
    expect(session.history).toHaveLength(1);
    say("/reset");
    expect(say("/retry")).toMatch(/no message/);
  });

  test("/save and /load keep a conversation, its system text and its settings", async () => {
    const directory = temporaryDirectory();
    const file = join(directory.path, "chat.json");
    await ask("how are you");
    say("/config temperature=0.25");
    expect(say(`/save ${file}`)).toBe(`saved 1 turn to ${file}`);
    const other = new ChatSession(engine, "T", settings);
    expect(runChatCommand(other, `/load ${file}`)).toMatchObject({
      text: expect.stringContaining("loaded 1"),
    });
    expect([other.system, other.settings, other.history]).toEqual([
      "S",
      session.settings,
      session.history,
    ]);
    expect(say(`/save ${file}`)).toContain("saved");
    writeFileSync(file, '{"version": 1, "system": "S", "settings": {"topP": 9}, "turns": []}');
    expect(say(`/load ${file}`)).toMatch(/settings: topP must be/);
    writeFileSync(file, '{"version": 1, "system": "S", "settings": {}, "turns": [{"user": 1}]}');
    expect(say(`/load ${file}`)).toMatch(/turns\.0\.user/);
    expect(say(`/save ${file}`)).toMatch(/is no saved conversation; choose another name/);
    expect(say(`/load ${directory.path}/none`)).toMatch(/none/);
    expect(say(`/save ${directory.path}/none/x`)).toMatch(/none/);
    expect(say("/save")).toBe("expected /save FILE");
    expect(session.settings.temperature).toBe(0.25);
    directory.remove();
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

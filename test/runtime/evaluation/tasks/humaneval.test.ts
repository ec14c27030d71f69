import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { humaneval } from "../../../../runtime/evaluation/tasks/humaneval.ts";
import { openPythonSandbox } from "../../../../runtime/evaluation/tasks/python-sandbox.ts";
import type { Grade, Reply } from "../../../../runtime/evaluation/tasks/task.ts";
import { sharedPath } from "../../../support/shared.ts";
import { temporaryDirectory } from "../../../support/tiny-checkpoint.ts";
import { optionsFor, promptOf, write } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());

const problem = {
  task_id: "Test/0",
  prompt:
    'import math\n\n\ndef half(x: float) -> float:\n    """ Half of a number.\n      >>> half(3)\n    1.5\n    """\n',
  entry_point: "half",
  test: "def check(candidate):\n    assert candidate(3) == 1.5\n    assert candidate(-1) == -0.5\n",
};
write(temporary.path, "HumanEval.jsonl", `${JSON.stringify(problem)}\n`);
const reply = (text: string): Reply => ({ text, logits: [], isCut: false });

describe("without a way to run programs", () => {
  test("base models are asked the prompt, to be cut where another thing begins", async () => {
    const { items, measures } = humaneval.load(optionsFor(temporary.path, { mode: "base" }));
    expect(items[0]?.query).toEqual({
      ...{ kind: "continue", prompt: problem.prompt, maxNewTokens: 512 },
      ...{ stop: ["\n\n", "def "], allowedSpecial: "none" },
    });
    expect(await items[0]?.grade(reply("    return x / 2"))).toEqual({
      ...{ prediction: "    return x / 2", scores: {} },
    });
    expect(measures).toEqual([]);
  });

  const load = () => humaneval.load(optionsFor(temporary.path, { mode: "chat" })).items[0];

  test("chat models are asked for the function", () => {
    expect(promptOf(load()!.query)).toBe(
      "Write a Python function `half(x: float) -> float` to solve the following problem:\n" +
        `Half of a number.\n>>> half(3)\n1.5\n\n${problem.prompt}`,
    );
  });

  test.each([
    // a code block, with or without the language
    [
      "Sure!\n```python\nimport math\ndef half(x):\n    return x / 2\n```\nDone.",
      "    return x / 2",
    ],
    [
      "```\ndef half(x: float) -> float:\n    y = 2\n\n    return x / y\n```",
      "    y = 2\n\n    return x / y",
    ],
    // the function anywhere
    ["def half(x):\n    return x / 2\nThat is all.", "    return x / 2"],
    ["Here:\ndef  half(x):\n\treturn x / 2", "\treturn x / 2"],
    // any function
    ["def halve(x):\n    return x / 2\n\nprint(halve(1))", "    return x / 2"],
    // nothing of the kind
    ["return x / 2\n# done", "    return x / 2\n    # done"],
  ])("of %j the body counts", async (text, completion) => {
    expect(await load()?.grade(reply(text))).toMatchObject({ prediction: completion });
  });

  test("an entry point that is no name is refused: it would become part of a program", () => {
    const dir = temporaryDirectory();
    const bad = { ...problem, entry_point: "half)\nimport os" };
    write(dir.path, "HumanEval.jsonl", `${JSON.stringify(bad)}\n`);
    expect(() => humaneval.load(optionsFor(dir.path, { mode: "chat" }))).toThrow(
      expect.objectContaining({
        ...{ code: "EVALUATION_DATA", message: expect.stringContaining("entry_point") },
      }),
    );
    dir.remove();
  });
});

/** Undefined on a machine without python3 or user namespaces, as the error says. */
function sandboxHere() {
  try {
    return openPythonSandbox({ allowNetwork: false });
  } catch (error) {
    expect(error).toMatchObject({ code: "EVALUATION_SANDBOX" });
    console.warn(`skipped: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

const sandbox = sandboxHere();

test.skipIf(sandbox === undefined)(
  "no way to keep programs from the network has to be allowed",
  async () => {
    const none = [{ command: ["false"], what: "nothing" }];
    expect(() => openPythonSandbox({ allowNetwork: false }, none)).toThrow(
      expect.objectContaining({
        ...{ code: "EVALUATION_SANDBOX", message: expect.stringContaining("--allow-network") },
      }),
    );
    const open = openPythonSandbox({ allowNetwork: true }, none);
    expect(open.isolation).toContain("NO protection of the network");
    expect(await open.run("assert 1 + 1 == 2")).toBe(true);
    expect(await open.run("assert 1 + 1 == 3")).toBe(false);
  },
);

describe.skipIf(sandbox === undefined)("generated programs", { timeout: 120_000 }, () => {
  const run = (program: string) => sandbox?.run(program);
  const grade = async (text: string): Promise<Grade | undefined> => {
    const options = optionsFor(temporary.path, { mode: "base", runProgram: sandbox?.run });
    return await humaneval.load(options).items[0]?.grade(reply(text));
  };

  test("pass the tests or do not", async () => {
    expect(await grade("    return x / 2\n")).toMatchObject({ scores: { humaneval: 1 } });
    expect(await grade("    return x // 2\n")).toMatchObject({ scores: { humaneval: 0 } });
    expect(await grade("    return (\n")).toMatchObject({ scores: { humaneval: 0 } });
  });

  test.each([
    ["ends before its tests", "import sys\nsys.exit(0)"],
    ["ends the process", "import os\nos._exit(77)"],
    ["never ends", "while True: pass"],
    [
      "catches every error and goes on",
      "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
    ],
    ["takes memory", "x = bytearray(4 << 30)"],
    ["writes a large file", "open('f', 'wb').write(bytes(2 << 20))"],
    ["opens a connection", "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)"],
    ["reads input", "input()"],
    ["starts a program", "import subprocess\nsubprocess.run(['true'], check=True)"],
    ["removes a file", "import os\nopen('f', 'w').close()\nos.remove('f')"],
  ])("one that %s fails", async (_what, program) => {
    expect(await run(program)).toBe(false);
  });

  test("start in an empty directory, with the network's own loop only, and see no variables of ours", async () => {
    const program = [
      "import os, socket",
      "assert os.listdir('.') == []",
      "assert [name for _, name in socket.if_nameindex()] in (['lo'], [])",
      "assert set(os.environ) <= {'PATH', 'HOME', 'LANG', 'LC_CTYPE', 'PWD'}, os.environ",
    ].join("\n");
    expect(await run(program)).toBe(true);
    expect(sandbox?.isolation).toContain("unshare");
  });

  const published = sharedPath("data", "eval", "HumanEval.jsonl.gz");
  test.skipIf(published === undefined)(
    "of the benchmark's authors all pass, in either form",
    async () => {
      const rows = gunzipSync(readFileSync(published ?? ""))
        .toString("utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { prompt: string; canonical_solution: string });
      const count = async (mode: "base" | "chat", answer: (i: number) => string) => {
        const dataDir = sharedPath("data", "eval") ?? "";
        const { items } = humaneval.load(optionsFor(dataDir, { mode, runProgram: sandbox?.run }));
        const grades = await Promise.all(items.map((item, i) => item.grade(reply(answer(i)))));
        return grades.filter(({ scores }) => scores["humaneval"] === 1).length;
      };
      expect(await count("base", (i) => rows[i]!.canonical_solution)).toBe(164);
      const block = (i: number) =>
        `Sure:\n\`\`\`python\n${rows[i]!.prompt}${rows[i]!.canonical_solution}\n\`\`\`\nDone.`;
      expect(await count("chat", block)).toBe(164);
    },
  );
});

import { describe, expect, test } from "vitest";
import { Output, type OutputFlags } from "../../../cli/terminal/output.ts";

function terminal(flags: OutputFlags, variables: Record<string, string> = {}, isTTY = true) {
  const written = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof written) => ({
    isTTY,
    columns: 80,
    write: (text: string) => {
      written[name] += text;
    },
  });
  const environment = { stdout: stream("stdout"), stderr: stream("stderr"), variables };
  return { output: new Output(flags, environment), written };
}

const red = "\u001b[31m";

describe("colour", () => {
  test.each<[string, boolean, OutputFlags, Record<string, string>, boolean]>([
    ["is used on a terminal", true, {}, {}, true],
    ["is not used on a pipe", false, {}, {}, false],
    ["is not used with --no-color", false, { color: false }, {}, true],
    ["is not used with NO_COLOR", false, {}, { NO_COLOR: "1" }, true],
    ["is used with an empty NO_COLOR", true, {}, { NO_COLOR: "" }, true],
    ["is not used on a dumb terminal", false, {}, { TERM: "dumb" }, true],
    ["is not used on a pipe of a CI machine", false, {}, { CI: "true" }, false],
  ])("%s", (_name, expected, flags, variables, isTTY) => {
    const { output, written } = terminal(flags, variables, isTTY);
    output.error("x");
    expect(written.stderr.includes(red)).toBe(expected);
  });
});

describe("output", () => {
  test("is the text without --json and the object with it, on stdout alone", () => {
    const text = terminal({});
    text.output.result({ a: 1 }, () => "one");
    expect(text.written).toEqual({ stdout: "one\n", stderr: "" });
    const json = terminal({ json: true });
    json.output.result({ a: 1 }, () => "one");
    expect(JSON.parse(json.written.stdout)).toEqual({ a: 1 });
  });

  test("of a model cannot reprogram a terminal, but reaches a pipe as it is", () => {
    const live = terminal({});
    live.output.stream("a\u001b]0;x\u0007b");
    expect(live.written.stdout).toBe("a]0;xb");
    const piped = terminal({}, {}, false);
    piped.output.stream("a\u001b[1mb");
    expect(piped.written.stdout).toBe("a\u001b[1mb");
  });

  test("has notes broken between words on a terminal only", () => {
    const words = `${"word ".repeat(20)}end`;
    const live = terminal({ color: false });
    live.output.note(words);
    expect(live.written.stderr).toBe(`${"word ".repeat(16).trim()}\n${"word ".repeat(4)}end\n`);
    const piped = terminal({}, {}, false);
    piped.output.note(words);
    expect(piped.written.stderr).toBe(`${words}\n`);
  });

  test("has errors on one line, and notes unless it is quiet", () => {
    const { output, written } = terminal({ quiet: true, color: false });
    output.note("note");
    output.error("first\n  second");
    expect(written).toEqual({ stdout: "", stderr: "error: first second\n" });
  });
});

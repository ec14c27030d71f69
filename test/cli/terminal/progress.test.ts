import { describe, expect, test } from "vitest";
import { Progress, type ProgressStyle } from "../../../cli/terminal/progress.ts";

/** A progress on a stream and a clock of the test's own. */
function start(style: ProgressStyle, options: { columns?: number; tokens?: number } = {}) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const progress = new Progress({
    stream: { columns: options.columns ?? 80, write: (text) => written.push(text) },
    style,
    now: () => clock.ms,
    ...(options.tokens === undefined ? {} : { tokens: options.tokens }),
  });
  return { progress, written, clock };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for them
const control = /[\u0000-\u0009\u000b-\u001f]/;

describe("progress on a pipe", () => {
  test("is a plain line per tenth of the way", () => {
    const { progress, written } = start("plain");
    for (let i = 0; i <= 1000; i++) progress.update("step", i / 1000);
    expect(written).toHaveLength(11);
    expect(written[0]).toBe("  0 %  step\n");
    expect(written.at(-1)).toBe("100 %  step\n");
    expect(written.join("")).not.toMatch(control);
  });

  test("is a line every five seconds when it is slow", () => {
    const { progress, written, clock } = start("plain");
    for (clock.ms = 0; clock.ms <= 20_000; clock.ms += 100) progress.update("step", 0.05);
    expect(written).toHaveLength(5);
  });

  test("leaves nothing to clear", () => {
    const { progress, written } = start("plain");
    progress.update("step", 0.5);
    progress[Symbol.dispose]();
    expect(written).toHaveLength(1);
  });
});

describe("progress on a terminal", () => {
  test("redraws one line, no more than ten times a second", () => {
    const { progress, written, clock } = start("live");
    for (clock.ms = 0; clock.ms < 1000; clock.ms += 1) progress.update("step", clock.ms / 1000);
    expect(written).toHaveLength(10);
    for (const text of written) {
      expect(text.startsWith("\r\u001b[K")).toBe(true);
      expect(text).not.toContain("\n");
    }
  });

  test("gives a rate and the time left once they mean something", () => {
    const { progress, written, clock } = start("live", { tokens: 1000 });
    clock.ms = 900;
    progress.update("step", 0.25);
    clock.ms = 2000;
    progress.update("step", 0.25);
    expect(written[0]).not.toContain("left");
    expect(written[1]).toContain("125 tokens/s  6.0 s left  step");
  });

  test.each([20, 40, 59, 60, 80, 200])("leaves room for ^C in %i columns", (columns) => {
    const { progress, written, clock } = start("live", { columns, tokens: 1e9 });
    for (const fraction of [0, 0.31, 0.999, 1]) {
      clock.ms += 5000;
      progress.update("transformer.h.31 mlp.w1, mlp.w2 and a longer name than any", fraction);
    }
    for (const text of written) {
      expect([...text.slice("\r\u001b[K".length)].length).toBeLessThanOrEqual(columns - 3);
    }
  });

  test("clears its line when it is over", () => {
    const { progress, written } = start("live");
    progress.update("step", 0.5);
    progress[Symbol.dispose]();
    expect(written.at(-1)).toBe("\r\u001b[K");
  });
});

test("progress that is off writes nothing", () => {
  const { progress, written } = start("off");
  progress.update("step", 0.5);
  progress.update("step", 1);
  progress[Symbol.dispose]();
  expect(written).toEqual([]);
});

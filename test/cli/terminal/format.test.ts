import { describe, expect, test } from "vitest";
import {
  displayWidth,
  formatBytes,
  formatCount,
  formatDifference,
  formatSeconds,
  parseBytes,
  plural,
  printable,
  shellQuoted,
  wrapText,
} from "../../../cli/terminal/format.ts";

describe("numbers for people", () => {
  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [999_949, "999.9 kB"],
    [999_960, "1.0 MB"],
    [17_853_528, "17.9 MB"],
    [3.7e15, "3700.0 TB"],
  ])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  test.each([
    [5, "5"],
    [999, "999"],
    [1000, "1,000"],
    [28105, "28,105"],
    [1234567.6, "1,234,568"],
  ])("%d is counted as %s", (count, text) => expect(formatCount(count)).toBe(text));

  test.each([
    [0.04, "0.0 s"],
    [9.94, "9.9 s"],
    [9.96, "10 s"],
    [59.9, "60 s"],
    [59.96, "1 min 00 s"],
    [3599.7, "1 h 00 min"],
    [7510, "2 h 05 min"],
  ])("%d seconds are %s", (seconds, text) => expect(formatSeconds(seconds)).toBe(text));

  test.each([
    [0.1234, "+0.12"],
    [-0.126, "-0.13"],
    [-0.001, "0.00"],
  ])("the difference %d shows as %s", (value, text) => {
    expect(formatDifference(value, 2)).toBe(text);
  });

  test("one of a thing is singular", () => {
    expect([plural(1, "token"), plural(2000, "token")]).toEqual(["1 token", "2,000 tokens"]);
  });
});

describe("a size", () => {
  test.each([
    ["2GB", 2e9],
    ["500 mb", 5e8],
    ["1.5k", 1500],
    ["2GiB", 2 ** 31],
    ["1048576", 1048576],
  ])("%s is %d bytes", (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  test.each(["", "GB", "0", "-1", "2XB", "1e9", "99999999TB"])("%j is none", (text) => {
    expect(parseBytes(text)).toBeUndefined();
  });
});

describe("text for a terminal", () => {
  test("loses escape sequences' control characters but keeps lines and tabs", () => {
    expect(printable("a\u001b[31mb\r\u0007\tc\n\u009bd")).toBe("a[31mb\tc\nd");
  });

  test("counts wide characters twice and combining ones not at all", () => {
    expect(displayWidth("ab")).toBe(2);
    expect(displayWidth("你好")).toBe(4);
    expect(displayWidth("e\u0301")).toBe(1);
  });

  test("wraps at spaces, keeps line feeds, and leaves a long word whole", () => {
    expect(wrapText("one two three\nincomprehensible x", 8)).toEqual([
      "one two",
      "three",
      "incomprehensible",
      "x",
    ]);
  });
});

test.each([
  ["--tasks", "--tasks"],
  ["a/b-c_1.5", "a/b-c_1.5"],
  ["two words", "'two words'"],
  ["it's", String.raw`'it'\''s'`],
  ["", "''"],
  ["$(x)", "'$(x)'"],
])("a shell takes %s as %s", (argument, expected) => {
  expect(shellQuoted(argument)).toBe(expected);
});

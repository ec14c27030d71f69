// Regular expressions as Python's `re` reads them, which differ from ours in what a letter, a digit, a line's end and an end are.

const word = String.raw`[\p{L}\p{N}_]`;
const boundary = `(?:(?<=${word})(?!${word})|(?<!${word})(?=${word}))`;

const meanings: ReadonlyMap<string, string> = new Map([
  ["\\b", boundary],
  ["\\d", String.raw`\p{Nd}`],
  ["\\D", String.raw`\P{Nd}`],
  ["\\w", word],
  ["$", String.raw`(?=\n?$)`],
  [".", String.raw`[^\n]`],
]);

/**
 * @param source  as it stands in a Python raw string; in a class such as [0-9] nothing is translated
 * @param flags  "s" for DOTALL, "g" to find all
 */
export function pythonPattern(source: string, flags: "" | "s" | "g" = ""): RegExp {
  const translated = source.replace(/\[(?:\\.|[^\]\\])*\]|\\.|[.$]/gu, (token) => {
    return token === "." && flags === "s" ? token : (meanings.get(token) ?? token);
  });
  return new RegExp(translated, `${flags}u`);
}

/** What Python's `eval` makes of the digits of a number; undefined where it is none, as with zeros before other digits. */
export function pythonNumber(text: string): number | undefined {
  const isNumber = /^[+-]?(?:0+|[1-9][0-9]*)$|^[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)$/.test(text);
  return isNumber ? Number(text) : undefined;
}

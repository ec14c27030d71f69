// Numbers, sizes and times as people read them. Sizes are decimal: 1 MB is 10⁶ bytes.

const units = ["B", "kB", "MB", "GB", "TB"] as const;

export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/**
 * Reads a size such as "2GB", "500 mb" or "1048576".
 *
 * @returns bytes, or undefined if the text is no size of at least one byte
 */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kMGT]?i?B?)$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, digits = "", unit = ""] = match;
  const power = ["", "k", "m", "g", "t"].indexOf(unit.toLowerCase().replace(/i?b?$/, ""));
  const base = unit.toLowerCase().includes("i") ? 1024 : 1000;
  const bytes = Math.round(Number(digits) * base ** power);
  return power >= 0 && bytes >= 1 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** 24576 as "24,576". */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 model", "3 models". */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

export function formatSeconds(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const padded = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${padded(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${padded(Math.floor((whole % 3600) / 60))} min`;
}

/** With its sign, so that a column of differences reads as such. */
export function formatDifference(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : `${value > 0 ? "+" : ""}${text}`;
}

/** An argument as a shell takes it. */
export function shellQuoted(argument: string): string {
  return /^[\w./@%+=:,-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

/**
 * Text from a model or a file, without the control characters that would reprogram a terminal. Line feeds and
 * tabs stay.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "");
}

/** Terminal cells a text takes: two for East Asian wide characters, none for combining ones. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mn}/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}

/** Breaks text at spaces so that no line is wider than asked, words permitting; line feeds stay. */
export function wrapText(text: string, width: number): readonly string[] {
  return text.split("\n").flatMap((line) => {
    const lines: string[] = [];
    let current = "";
    for (const word of line.split(" ")) {
      const joined = current === "" ? word : `${current} ${word}`;
      if (current !== "" && displayWidth(joined) > width) {
        lines.push(current);
        current = word;
      } else {
        current = joined;
      }
    }
    return [...lines, current];
  });
}

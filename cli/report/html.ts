// HTML in which whatever comes from a file is text: a template's values are escaped, unless they are made of templates.

export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** False and undefined are nothing. */
export type HtmlValue = Html | string | number | false | undefined | readonly HtmlValue[];

export function html(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  const text = parts.map((part, i) => `${part}${i < values.length ? rendered(values[i]) : ""}`);
  return new Html(text.join(""));
}

function rendered(value: HtmlValue): string {
  if (value === undefined || value === false) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "string" || typeof value === "number") return escapeHtml(`${value}`);
  return value.map(rendered).join("");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * For text and for attribute values in quotes. Control characters, which HTML does not allow, become U+FFFD, and so do those
 * that would turn the direction of what follows, our own words included.
 */
export function escapeHtml(text: string): string {
  return (
    text
      .replaceAll(/[&<>"']/g, (character) => entities[character] ?? "")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
      .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd")
  );
}

// README and the pages of docs/, taken apart.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { repositoryPath } from "../support/shared.ts";

export type Page = {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  /** Blocks fenced as `sh`: what a reader can run. */
  readonly commands: readonly string[];
  /** All other fenced blocks. */
  readonly others: readonly string[];
};

export function readPages(): readonly Page[] {
  const docs = readdirSync(repositoryPath("docs")).filter((name) => name.endsWith(".md"));
  return ["README.md", ...docs.map((name) => join("docs", name))].map(readPage);
}

function readPage(path: string): Page {
  const text = readFileSync(repositoryPath(path), "utf8");
  const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)];
  const of = (isCommand: boolean) =>
    blocks
      .filter(([, language]) => (language === "sh") === isCommand)
      .map(([, , body = ""]) => body);
  return { path, text, commands: of(true), others: of(false) };
}

/** Targets of links to files, relative to the repository, without what follows a `#`. */
export function linkedFiles({ path, text }: Page): readonly string[] {
  return [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => join(dirname(path), target));
}

/** Long flags named anywhere on a page. */
export function namedFlags({ text }: Page): readonly string[] {
  return [...new Set(text.match(/(?<![\w-])--[a-z][a-z-]*[a-z]/g) ?? [])];
}

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { repositoryPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { prepareReader } from "./fixture.ts";
import { linkedFiles, namedFlags, readPages } from "./pages.ts";

const directories = readPages().map((page) => ({ page, directory: temporaryDirectory() }));
afterAll(() => {
  for (const { directory } of directories) directory.remove();
});

/** Flags of other programs that pages speak of. */
const foreignFlags = new Set(["--trust-remote-code", "--config"]);

const program = repositoryPath("dist", "cli", "main.js");
const run = (args: readonly string[]): string =>
  spawnSync(process.execPath, [program, ...args], { encoding: "utf8" }).stdout;

/** Every flag of every command. */
function knownFlags(): ReadonlySet<string> {
  const overview = run(["--help"]);
  const names = [...overview.matchAll(/^ {2}([a-z]+)\b/gm)].map(([, name = ""]) => name);
  const help = [overview, ...names.map((name) => run([name, "--help"]))].join("\n");
  return new Set(help.match(/--[a-z][a-z-]*[a-z]/g));
}

describe("the documentation", () => {
  test.each(directories)("$page.path: every command works, in order", ({ page, directory }) => {
    const env = prepareReader(directory.path);
    for (const command of page.commands) {
      const { status, stderr, stdout } = spawnSync("bash", ["-euo", "pipefail", "-c", command], {
        ...{ cwd: directory.path, env, encoding: "utf8" },
        stdio: ["ignore", "pipe", "pipe"],
      });
      expect(status, `${page.path}:\n${command}\n${stdout}\n${stderr}`).toBe(0);
    }
  });

  test.each(directories)("$page.path: what is not run shows no command of ours", ({ page }) => {
    for (const block of page.others) expect(block).not.toMatch(/^\s*nibble /m);
  });

  test.each(directories)("$page.path: links lead to files", ({ page }) => {
    for (const file of linkedFiles(page)) {
      expect(existsSync(repositoryPath(file)), `${page.path} links to ${file}`).toBe(true);
    }
  });

  test("flags that pages name exist", () => {
    const known = knownFlags();
    const unknown = directories.flatMap(({ page }) =>
      namedFlags(page)
        .filter((flag) => !known.has(flag) && !foreignFlags.has(flag))
        .map((flag) => `${page.path}: ${flag}`),
    );
    expect(unknown).toEqual([]);
  });
});

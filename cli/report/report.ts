import { statSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { makeDirectories, writeFileAtomic } from "../../runtime/index.ts";
import { type CommonFlags, path } from "../arguments.ts";
import type { CommandContext, CommandSpec } from "../command.ts";
import { UsageError } from "../errors.ts";
import { modelCard } from "./markdown.ts";
import { buildReport } from "./model.ts";
import { reportPage } from "./page.ts";
import { publishedFigures } from "./published-figures.ts";
import { readRun } from "./read-run.ts";
import { reportTables } from "./tables.ts";

type ReportFlags = CommonFlags & { readonly output?: string; readonly title?: string };

export const report: CommandSpec = {
  name: "report",
  define: (command) => {
    command
      .description(
        "A page, tables and a section for a model card, from what `nibble evaluate --output` left in a directory.",
      )
      .argument("<run>", "directory of the evaluation", path)
      .option("-o, --output <dir>", "where to write (default: the run's directory)", path)
      .option("--title <text>", "of the page (default: the names of the models)")
      .addHelpText("after", examples);
  },
  run: runReport,
};

const examples = `
Writes
  report.html     one page that needs nothing else: figures with intervals,
                  plots, error by layer, samples; it prints well
  model-card.md   the main figures as a section for a model card
  report.json     everything the page shows
  tables/*.arrow  the same as tables, for pandas, Polars or DuckDB

The models are not needed any more.

Examples:
  nibble report my-run
  nibble report my-run --title "Qwen-1.8B-Chat in 4 bits" -o public
  nibble report my-run --json
`;

/** Found before anything is read, not after all is drawn. */
function checkOutput(dir: string): void {
  const stats = statSync(dir, { throwIfNoEntry: false });
  if (stats === undefined || stats.isDirectory()) return;
  throw new UsageError(`--output ${dir}: there is a file of that name; expected a directory`);
}

async function runReport(command: Command, { output, signal }: CommandContext): Promise<void> {
  const [dir = ""] = command.processedArgs as string[];
  const { output: target = dir, title } = command.opts<ReportFlags>();
  if (target !== dir) checkOutput(target);
  const made = buildReport(await readRun(dir), { title, published: publishedFigures });
  signal.throwIfAborted();
  const files = new Map<string, string | Uint8Array>([
    ["report.html", await reportPage(made)],
    ["model-card.md", modelCard(made)],
    ["report.json", `${JSON.stringify(made, undefined, 2)}\n`],
  ]);
  for (const [name, table] of await reportTables(made)) files.set(`tables/${name}.arrow`, table);
  signal.throwIfAborted();
  makeDirectories(join(target, "tables"));
  const written = [...files].map(([name, contents]) => {
    const file = join(target, name);
    writeFileAtomic(file, contents);
    return file;
  });
  output.result({ title: made.title, files: written }, () => written.join("\n"));
}

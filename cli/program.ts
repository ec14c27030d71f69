// Parsing, signals and exit codes, the same for every command.

import { Command } from "commander";
import { addCommonFlags, type CommonFlags, normalizeFlags } from "./arguments.ts";
import type { CommandGroups } from "./command.ts";
import { describeFailure, exitCodes } from "./errors.ts";
import { Interruption } from "./interruption.ts";
import { Output } from "./terminal/output.ts";
import { version } from "./version.ts";

const overview = `
Examples:
  nibble plan Qwen/Qwen-1_8B-Chat --data example
  nibble quantize Qwen/Qwen-1_8B-Chat --data example -o my-Int4
  nibble verify my-Int4 --source Qwen/Qwen-1_8B-Chat
  nibble chat my-Int4

Exit codes:
  0    done
  1    failed, or what was checked is not in order
  2    the command line is wrong
  3    a model or file is missing, broken or unsuitable
  130  interrupted with Ctrl-C
  143  ended by SIGTERM
`;

/** Runs the program and returns its exit code; never throws. */
export async function runProgram(
  commands: CommandGroups,
  argv: readonly string[],
): Promise<number> {
  using interruption = new Interruption();
  // Until a command's flags are parsed, only these two matter.
  const flags: CommonFlags = {
    color: !argv.includes("--no-color"),
    debug: argv.includes("--debug"),
  };
  handleStreamErrors();
  try {
    const program = buildProgram(commands, flags, interruption);
    await program.parseAsync(normalizeFlags(argv, program), { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    const { exitCode, message } = describeFailure(error, interruption.request);
    if (message !== undefined) new Output(flags).error(message);
    if (message !== undefined && flags.debug === true && error instanceof Error) {
      process.stderr.write(`${error.stack}\n${describeCause(error.cause)}`);
    }
    return exitCode;
  }
}

function buildProgram(
  commands: CommandGroups,
  flags: CommonFlags,
  interruption: Interruption,
): Command {
  const program = new Command("nibble")
    .description("Quantizes, evaluates and runs language models of the Qwen family.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .commandsGroup("See also:")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", overview);
  const rows = Object.entries(commands).flatMap(([heading, specs]) =>
    specs.map((spec) => ({ heading, spec })),
  );
  for (const row of [undefined, ...rows]) {
    const command = row === undefined ? program : program.command(row.spec.name);
    command.exitOverride().configureOutput({
      // Commander's messages are complete sentences over two lines, "error:" included.
      outputError: (text) =>
        new Output(flags).error(
          text
            .replace(/^error: /, "")
            .replaceAll("\n", " ")
            .trim(),
        ),
    });
    if (row === undefined) continue;
    const { heading, spec } = row;
    command.helpGroup(`${heading}:`);
    spec.define(command);
    addCommonFlags(command);
    command.helpOption("-h, --help", "print this help");
    command.action(() => {
      const output = new Output(command.opts<CommonFlags>());
      return spec.run(command, {
        ...{ output, signal: interruption.signal },
        interrupt: () => interruption.interrupt(),
        onInterrupt: (handler) => interruption.takeOver(handler),
      });
    });
  }
  return program;
}

/** Results that cannot be written end the program; progress that cannot be written (`2>&1 | head`) does not. */
function handleStreamErrors(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // A reader that has seen enough (`| head`) is no failure.
    if (error.code === "EPIPE") process.exit(exitCodes.ok);
    new Output({}).error(`standard output cannot be written: ${error.message}`);
    process.exit(exitCodes.failure);
  });
  process.stderr.on("error", () => {});
}

function describeCause(cause: unknown): string {
  if (cause === undefined) return "";
  return `caused by: ${cause instanceof Error ? cause.stack : String(cause)}\n`;
}

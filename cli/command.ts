import type { Command } from "commander";
import type { Output } from "./terminal/output.ts";

export type CommandContext = {
  readonly output: Output;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Aborts the signal, as Ctrl-C does. */
  interrupt(): void;
  /** Lets Ctrl-C call a handler instead, until the result is disposed. */
  onInterrupt(handler: () => void): Disposable;
};

/** One command of the program: a file exporting one of these, and a place in main.ts. */
export type CommandSpec = {
  readonly name: string;
  /** Arguments, flags and help; flags of every command are added elsewhere. */
  define(command: Command): void;
  /** @param command  parsed: `processedArgs` and `opts()` */
  run(command: Command, context: CommandContext): Promise<void>;
};

/** Commands by the heading they stand under in the program's help, in that order. */
export type CommandGroups = Readonly<Record<string, readonly CommandSpec[]>>;

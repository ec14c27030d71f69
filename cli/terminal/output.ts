// The only place that writes: results to stdout, everything else to stderr.

import pc from "picocolors";
import { printable, wrapText } from "./format.ts";
import { Progress, type ProgressStyle } from "./progress.ts";
import type { TableStyle } from "./table.ts";

export type OutputFlags = {
  readonly quiet?: boolean;
  readonly json?: boolean;
  /** False for --no-color. */
  readonly color?: boolean;
};

/** The part of a terminal's stream that is used, so that tests can stand in. */
export type OutputStream = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
};

export type OutputEnvironment = {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly variables: Readonly<Record<string, string | undefined>>;
};

type Colors = ReturnType<typeof pc.createColors>;

export class Output {
  readonly isJson: boolean;
  readonly colors: Colors;
  readonly #isQuiet: boolean;
  readonly #errorColors: Colors;
  readonly #environment: OutputEnvironment;

  constructor(flags: OutputFlags, environment: OutputEnvironment = processEnvironment()) {
    const { stdout, stderr } = environment;
    this.isJson = flags.json ?? false;
    this.#isQuiet = flags.quiet ?? false;
    this.#environment = environment;
    const allowed = flags.color ?? true;
    this.colors = pc.createColors(allowed && hasColor(stdout, environment));
    this.#errorColors = pc.createColors(allowed && hasColor(stderr, environment));
  }

  /** The outcome of a command: as one JSON object with --json, else as text. */
  result(value: object, render: () => string): void {
    const text = this.isJson ? JSON.stringify(value, undefined, 2) : render();
    this.#environment.stdout.write(`${text}\n`);
  }

  /** One of several results: an object on a line of its own, for --json. */
  line(value: object): void {
    this.#environment.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** A control sequence; nothing where there is no terminal. */
  control(sequence: string): void {
    const { stdout } = this.#environment;
    if (stdout.isTTY === true) stdout.write(sequence);
  }

  /** A piece of a streamed result. */
  stream(text: string): void {
    const { stdout } = this.#environment;
    stdout.write(stdout.isTTY === true ? printable(text) : text);
  }

  /** What a user may like to know; not with -q. */
  note(text: string): void {
    if (this.#isQuiet) return;
    const { stderr } = this.#environment;
    const lines =
      stderr.isTTY === true ? wrapText(printable(text), stderr.columns ?? 80) : [printable(text)];
    for (const line of lines) stderr.write(`${this.#errorColors.dim(line)}\n`);
  }

  error(text: string): void {
    const line = printable(text).replace(/\s*\n\s*/g, " ");
    this.#environment.stderr.write(`${this.#errorColors.red("error:")} ${line}\n`);
  }

  /** @param tokens  see ProgressOptions */
  progress(tokens?: number): Progress {
    const { stderr } = this.#environment;
    const style = this.#isQuiet ? "off" : this.#progressStyle();
    return new Progress({ stream: stderr, style, ...(tokens === undefined ? {} : { tokens }) });
  }

  get tableStyle(): TableStyle {
    return { width: this.width, strong: this.colors.bold, faint: this.colors.dim };
  }

  /** Cells of a line of results. */
  get width(): number {
    const { stdout } = this.#environment;
    return stdout.isTTY === true ? (stdout.columns ?? 80) : Number.POSITIVE_INFINITY;
  }

  #progressStyle(): ProgressStyle {
    const { stderr, variables } = this.#environment;
    return stderr.isTTY === true && variables["TERM"] !== "dumb" ? "live" : "plain";
  }
}

function processEnvironment(): OutputEnvironment {
  return { stdout: process.stdout, stderr: process.stderr, variables: process.env };
}

/** See https://no-color.org: any value but "" turns colour off. */
function hasColor(stream: OutputStream, { variables }: OutputEnvironment): boolean {
  if ((variables["NO_COLOR"] ?? "") !== "") return false;
  return stream.isTTY === true && variables["TERM"] !== "dumb";
}

// Answers as they come in a file beside the result, which takes its name when all are there. A run that was killed goes on from it.
import {
  appendFileSync,
  existsSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { writeFileAtomic } from "../../runtime/index.ts";
import { UsageError } from "../errors.ts";

export type BatchAnswer = {
  /** Of the prompt, from 0. */
  readonly index: number;
  readonly id?: string | number;
  readonly text: string;
  readonly finish: "stop" | "length";
  readonly promptTokens: number;
  readonly tokens: number;
};

export class AnswersFile {
  readonly #output: string;
  readonly #journal: string;
  readonly answers: Map<number, BatchAnswer> = new Map();

  /**
   * @param run  what has to be the same for answers to be of use: prompts, model, settings
   * @throws UsageError if the output is there already, or answers of another run are
   */
  constructor(output: string, run: string, { overwrite }: { readonly overwrite: boolean }) {
    this.#output = output;
    this.#journal = `${output}.partial`;
    if (existsSync(output) && !overwrite) {
      throw new UsageError(`${output} is there already; --overwrite replaces it`);
    }
    if (overwrite) rmSync(this.#journal, { force: true });
    if (existsSync(this.#journal)) this.#resume(run);
    else writeFileSync(this.#journal, `${run}\n`);
  }

  #resume(run: string): void {
    const text = readFileSync(this.#journal, "utf8");
    // What follows the last line's end was cut off while it was written.
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    const [first, ...lines] = whole.split("\n").slice(0, -1);
    if (first !== run) {
      throw new UsageError(
        `${this.#journal} holds answers of a run with other prompts, another model or other settings; ` +
          "--overwrite begins anew",
      );
    }
    truncateSync(this.#journal, Buffer.byteLength(whole));
    for (const line of lines) {
      const answer = JSON.parse(line) as BatchAnswer;
      this.answers.set(answer.index, answer);
    }
  }

  add(answer: BatchAnswer): void {
    appendFileSync(this.#journal, `${JSON.stringify(answer)}\n`);
    this.answers.set(answer.index, answer);
  }

  /** Puts the answers in the order of their prompts. */
  publish(): void {
    const ordered = [...this.answers.values()].sort((a, b) => a.index - b.index);
    const lines = ordered.map((answer) => `${JSON.stringify(answer)}\n`);
    writeFileAtomic(this.#output, lines.join(""));
    rmSync(this.#journal, { force: true });
  }
}

// A model's answers to a task as they come, one per line; in the order of the questions once all are there.
import { appendFileSync, existsSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { type ItemResult, itemResult, writeFileAtomic } from "../../runtime/index.ts";
import { InputError } from "../errors.ts";

export class AnswersLog {
  readonly #file: string;
  readonly #partial: string;
  readonly answered: Map<number, ItemResult> = new Map();

  /** @throws InputError for lines that are no answers */
  constructor(file: string) {
    this.#file = file;
    this.#partial = `${file}.partial`;
    if (existsSync(file)) this.#read(file, readFileSync(file, "utf8"));
    else if (existsSync(this.#partial)) this.#resume();
  }

  #resume(): void {
    const text = readFileSync(this.#partial, "utf8");
    // What follows the last line's end was cut off while it was written.
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    truncateSync(this.#partial, Buffer.byteLength(whole));
    this.#read(this.#partial, whole);
  }

  #read(file: string, text: string): void {
    for (const [i, line] of text.split("\n").entries()) {
      if (line === "") continue;
      const answer = parseAnswer(line, `${file}, line ${i + 1}`);
      this.answered.set(answer.index, answer);
    }
  }

  add(answer: ItemResult): void {
    appendFileSync(this.#partial, `${JSON.stringify(answer)}\n`);
  }

  /** @param answers  all of them, in order */
  publish(answers: readonly ItemResult[]): void {
    if (existsSync(this.#file)) return;
    writeFileAtomic(this.#file, answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
    rmSync(this.#partial, { force: true });
  }
}

function parseAnswer(line: string, where: string): ItemResult {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    json = undefined; // judged below
  }
  const parsed = itemResult.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new InputError(`${where}: not an answer of an evaluation; --overwrite begins anew`);
}

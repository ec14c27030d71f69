// A model's answers to a task as they come, one per line; in the order of the questions once all are there.
import { appendFileSync, existsSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { type ItemResult, itemResult, writeFileAtomic } from "../../runtime/index.ts";
import { InputError } from "../errors.ts";

export class AnswersLog {
  readonly #file: string;
  readonly #partial: string;
  /** Those that were there at first. */
  readonly answered: ReadonlyMap<number, ItemResult>;
  #isPublished: boolean;

  /** @throws InputError for lines that are no answers */
  constructor(file: string) {
    this.#file = file;
    this.#partial = `${file}.partial`;
    this.#isPublished = existsSync(file);
    this.answered = this.#isPublished
      ? parseAnswers(file, readFileSync(file, "utf8"))
      : this.#resume();
  }

  #resume(): ReadonlyMap<number, ItemResult> {
    if (!existsSync(this.#partial)) return new Map();
    const text = readFileSync(this.#partial, "utf8");
    // What follows the last line's end was cut off while it was written.
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    truncateSync(this.#partial, Buffer.byteLength(whole));
    return parseAnswers(this.#partial, whole);
  }

  add(answer: ItemResult): void {
    this.#isPublished = false;
    appendFileSync(this.#partial, `${JSON.stringify(answer)}\n`);
  }

  /** @param answers  all of them, in order */
  publish(answers: readonly ItemResult[]): void {
    if (this.#isPublished) return;
    writeFileAtomic(this.#file, answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
    rmSync(this.#partial, { force: true });
  }
}

function parseAnswers(file: string, text: string): ReadonlyMap<number, ItemResult> {
  const answers = text
    .split("\n")
    .flatMap((line, i) => (line === "" ? [] : [parseAnswer(line, `${file}, line ${i + 1}`)]));
  return new Map(answers.map((answer) => [answer.index, answer]));
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

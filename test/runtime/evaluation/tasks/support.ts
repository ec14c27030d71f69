// Small benchmarks in the published layouts, and a stand-in for a model.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type {
  Answerer,
  Query,
  Reply,
  TaskOptions,
} from "../../../../runtime/evaluation/tasks/task.ts";

export function write(dir: string, name: string, text: string): void {
  mkdirSync(dirname(join(dir, name)), { recursive: true });
  writeFileSync(join(dir, name), text);
}

/** Letters "A" to "D" of `right`, in turn, are the answers. */
export function writeMmlu(dir: string, subject: string, right: string): void {
  const rows = (letters: string, word: string) =>
    [...letters].map((letter, i) => `"${word} ${i}, or ""${i}""?",one,two,three,four,${letter}\n`);
  write(dir, `mmlu/dev/${subject}_dev.csv`, rows("ABCDA", "example").join(""));
  write(dir, `mmlu/test/${subject}_test.csv`, rows(right, "question").join(""));
}

export function writeCeval(dir: string, subject: string, right: string): void {
  const rows = (letters: string, word: string, more: string) =>
    [...letters].map((letter, i) => `${i},${word}${i}是____。,甲,乙,丙,丁,${letter}${more}\n`);
  const dev = `id,question,A,B,C,D,answer,explanation\n${rows("ABCDA", "例", ",因为").join("")}`;
  write(dir, `ceval/dev/${subject}_dev.csv`, dev);
  const val = `id,question,A,B,C,D,answer\n${rows(right, "题", "").join("")}`;
  write(dir, `ceval/val/${subject}_val.csv`, val);
}

export function writeCmmlu(dir: string, subject: string, right: string): void {
  const table = (letters: string, word: string) =>
    `,Question,A,B,C,D,Answer\n${[...letters].map((letter, i) => `${i},${word}${i},甲,乙,丙,丁,${letter}\n`).join("")}`;
  write(dir, `cmmlu/dev/${subject}.csv`, table("ABCDA", "例"));
  write(dir, `cmmlu/test/${subject}.csv`, table(right, "题"));
}

export function optionsFor(
  dataDir: string,
  options: Partial<TaskOptions> & Pick<TaskOptions, "mode">,
): TaskOptions {
  return {
    ...{ dataDir, limit: undefined, shots: 5, fewShot: false, runProgram: undefined },
    tokensOf: (text) => text.match(/\w+|\W/g) ?? [],
    ...options,
  };
}

/** Answers what a function says, after a turn, and remembers what it was asked in which order. */
export class Scripted implements Answerer {
  readonly asked: Query[] = [];
  running = 0;
  readonly #answer: (query: Query) => string;

  constructor(answer: (query: Query) => string) {
    this.#answer = answer;
  }

  letterLogits(query: Query): Promise<Reply> {
    return this.generate(query);
  }

  async generate(query: Query): Promise<Reply> {
    this.asked.push(query);
    this.running += 1;
    await new Promise((resolve) => setImmediate(resolve));
    this.running -= 1;
    return { text: this.#answer(query), logits: [], isCut: false };
  }
}

export function promptOf(query: Query): string {
  return query.kind === "chat" ? query.message : query.prompt;
}

// One model's answers to all tasks, and how it goes on from the sample prompts. It is opened only if something is left to ask.
import type { Device } from "../../kernels/index.ts";
import {
  EngineAnswerer,
  type ItemResult,
  type LongContext,
  type Model,
  openModel,
  readGenerationConfig,
  runTask,
  type TaskMode,
  type Tokenizer,
} from "../../runtime/index.ts";
import type { CommandContext } from "../command.ts";
import type { EvaluatedModel } from "../evaluation.ts";
import { describeUnused, openTokenizer } from "../model-files.ts";
import type { AnswersLog } from "../run-directory/answers-log.ts";
import type { RunDirectory } from "../run-directory/run-directory.ts";
import { cacheTokensOf } from "../serve/cache-memory.ts";
import { plural } from "../terminal/format.ts";
import { type Pieces, pieces, sample } from "./samples.ts";
import type { AskedTask } from "./task-results.ts";

export type ModelAnswers = {
  /** By task, in the order of its items. */
  readonly results: ReadonlyMap<string, readonly ItemResult[]>;
  /** In the order of the prompts. */
  readonly samples: readonly Pieces[];
};

export type ModelQuestions = {
  readonly model: EvaluatedModel & { readonly name: string; readonly place: string };
  readonly longContext: Partial<LongContext>;
  readonly mode: TaskMode;
  readonly asked: readonly AskedTask[];
  /** To go on from. */
  readonly prompts: readonly string[];
  /** Where answers are kept; nowhere if undefined. */
  readonly run: RunDirectory | undefined;
};

type Context = CommandContext & { readonly device: Device };

/** @throws as `openModel`, `EngineAnswerer` and `generateText` do; the signal's reason */
export async function answerAll(
  questions: ModelQuestions,
  context: Context,
): Promise<ModelAnswers> {
  using opened = new LazyModel(questions, context);
  const results = new Map<string, readonly ItemResult[]>();
  for (const task of questions.asked) {
    results.set(task.name, await answerTask(task, questions, { opened, context }));
  }
  const samples: Pieces[] = [];
  for (const [i, prompt] of questions.prompts.entries()) {
    const { mode, run, model } = questions;
    const make = async () => {
      const { model: loaded, tokenizer } = opened.get();
      return await sample(loaded, tokenizer, { prompt, mode, signal: context.signal });
    };
    samples.push(
      (await run?.part(`sample-${i + 1}-${model.name}`, pieces, make)) ?? (await make()),
    );
  }
  return { results, samples };
}

async function answerTask(
  { name, items }: AskedTask,
  { model, run }: ModelQuestions,
  { opened, context }: { readonly opened: LazyModel; readonly context: Context },
): Promise<readonly ItemResult[]> {
  const log: AnswersLog | undefined = run?.answers(name, model.name);
  const answered = log?.answered ?? new Map<number, ItemResult>();
  if (answered.size < items.length) {
    const { output, signal } = context;
    const label = `${name}, ${model.name} (${model.place})`;
    if (answered.size > 0) {
      output.note(`${label}: going on after ${plural(answered.size, "answer")} of ${items.length}`);
    }
    const { model: loaded, tokenizer } = opened.get();
    await using answerer = new EngineAnswerer(loaded, tokenizer, {
      config: readGenerationConfig(model.dir),
      cacheTokens: cacheTokensOf(loaded, {}),
    });
    using progress = output.progress();
    const before = answered.size;
    let fresh = 0;
    const all = await runTask(items, answerer, {
      ...{ answered, signal },
      onResult: (result) => {
        log?.add(result);
        fresh += 1;
        // What was there before took no time, so it does not count.
        progress.update(label, fresh / (items.length - before));
      },
    });
    log?.publish(all);
    return all;
  }
  const all = [...answered.values()].sort((a, b) => a.index - b.index);
  log?.publish(all);
  return all;
}

/** Opens a model when it is first asked for. */
class LazyModel implements Disposable {
  readonly #questions: ModelQuestions;
  readonly #context: Context;
  #opened: { readonly model: Model; readonly tokenizer: Tokenizer } | undefined;

  constructor(questions: ModelQuestions, context: Context) {
    this.#questions = questions;
    this.#context = context;
  }

  get(): { readonly model: Model; readonly tokenizer: Tokenizer } {
    this.#opened ??= this.#open();
    return this.#opened;
  }

  #open(): { readonly model: Model; readonly tokenizer: Tokenizer } {
    const { model: evaluated, longContext } = this.#questions;
    const { device, output } = this.#context;
    const model = openModel(evaluated.dir, device, { longContext, ...evaluated.arithmetic });
    try {
      const unused = describeUnused(model);
      if (unused !== undefined) output.note(unused);
      return { model, tokenizer: openTokenizer(model) };
    } catch (error) {
      model[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#opened?.tokenizer[Symbol.dispose]();
    this.#opened?.model[Symbol.dispose]();
  }
}

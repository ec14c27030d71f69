// nibble evaluate --tasks: texts with all models together, then each model in turn through the tasks.
import { cpus } from "node:os";
import type { Device } from "../../kernels/index.ts";
import {
  openPythonSandbox,
  openQwenTokenizer,
  type PythonSandbox,
  type Query,
  readGenerationConfig,
  type TaskMode,
  type Tokenizer,
  tasks,
} from "../../runtime/index.ts";
import type { CommandContext } from "../command.ts";
import { UsageError } from "../errors.ts";
import type { EvaluatedModel, EvaluationRequest } from "../evaluation.ts";
import { type EvaluationRun, type TextResult, textResult } from "../run-directory/format.ts";
import { RunDirectory } from "../run-directory/run-directory.ts";
import { version } from "../version.ts";
import { answerAll, type ModelAnswers } from "./model-answers.ts";
import { describeModels, measureSpeeds, nameModels } from "./run-models.ts";
import { settingsOf } from "./settings.ts";
import type { TaskFlags } from "./task-flags.ts";
import { type Answers, type AskedTask, taskResults, unscoredTasks } from "./task-results.ts";
import { evaluateText } from "./texts.ts";

export type TaskEvaluationRequest = {
  /** The original first. */
  readonly models: readonly EvaluatedModel[];
  readonly texts: readonly string[];
  /** Of each text, and how models compute. */
  readonly text: Omit<EvaluationRequest, "data" | "models">;
  readonly flags: TaskFlags;
  /** As it was typed. */
  readonly command: string;
  readonly threads: number;
  /** As it was typed. */
  readonly deviceName: string | undefined;
};

type Context = CommandContext & { readonly device: Device };

/**
 * @throws EvaluationError for data that is missing or wrong; UsageError for a directory of another run; CheckpointError;
 *   the signal's reason
 */
export async function evaluateTasks(
  request: TaskEvaluationRequest,
  context: Context,
): Promise<EvaluationRun> {
  const { flags, models, command } = request;
  const named = nameModels(models.map(({ dir }) => dir));
  const mode = modeOf(models, flags);
  using tokenizer = openQwenTokenizer(models[0]?.dir ?? "");
  const asked = loadTasks(flags, mode, tokenizer);
  using run =
    flags.output === undefined
      ? undefined
      : new RunDirectory(flags.output, settingsOf(request, { named, mode, asked }), {
          overwrite: flags.overwrite ?? false,
        });
  using _note = noteOnInterruption(run, context);
  const texts = await evaluateTexts(request, run, context);
  const prompts = flags.samples ?? [];
  const answers: ModelAnswers[] = [];
  for (const [i, { name }] of named.entries()) {
    const model = { ...(models[i] as EvaluatedModel), name, place: `${i + 1} of ${named.length}` };
    const { longContext } = request.text;
    answers.push(await answerAll({ model, longContext, mode, asked, prompts, run }, context));
  }
  const answersOf = (task: string): Answers => ({
    results: answers.map(({ results }) => results.get(task) ?? []),
    files: run === undefined ? [] : named.map(({ name }) => `answers/${task}-${name}.jsonl`),
  });
  const { threads, deviceName: device } = request;
  const speeds =
    flags.speed === true
      ? await measureSpeeds(named, { threads, device, signal: context.signal })
      : [];
  const unscored = asked.flatMap((task) => unscoredTasks(task, answersOf(task.name)));
  const result: EvaluationRun = {
    ...{ format: 1, nibble: version, command },
    startedAt: run?.startedAt ?? new Date(performance.timeOrigin).toISOString(),
    seconds: run?.seconds ?? performance.now() / 1000,
    machine: {
      ...{ cpu: cpus()[0]?.model ?? "unknown", threads },
      ...(context.device.kind === "cuda" ? { gpu: context.device.name } : {}),
    },
    models: describeModels(named, speeds, run?.dir),
    texts,
    tasks: asked.flatMap((task) => taskResults(task, answersOf(task.name))),
    ...(unscored.length === 0 ? {} : { unscored }),
    samples: prompts.map((prompt, i) => ({
      prompt,
      outputs: answers.map(({ samples }) => ({ pieces: samples[i] ?? [] })),
    })),
  };
  run?.finish(result);
  return result;
}

/** Tells a user who stops a run that its work is not lost. */
function noteOnInterruption(
  run: RunDirectory | undefined,
  { signal, output }: CommandContext,
): Disposable {
  return {
    [Symbol.dispose]: () => {
      if (!signal.aborted || run === undefined) return;
      output.note(`what was answered is kept in ${run.dir}; the same command goes on from there`);
    },
  };
}

/** How the first model is to be asked; others have to agree, since only answers to the same questions can be compared. */
function modeOf(models: readonly EvaluatedModel[], { chat, base }: TaskFlags): TaskMode {
  if (chat === true) return "chat";
  if (base === true) return "base";
  const modes = models.map(({ dir }): TaskMode => {
    return readGenerationConfig(dir).chatFormat === "chatml" ? "chat" : "base";
  });
  const [first = "base"] = modes;
  const other = modes.findIndex((mode) => mode !== first);
  if (other < 0) return first;
  throw new UsageError(
    `${models[0]?.dir} is a ${first} model and ${models[other]?.dir} a ${modes[other]} model by their ` +
      "generation_config.json; --chat or --base asks all of them the same way",
  );
}

function loadTasks(flags: TaskFlags, mode: TaskMode, tokenizer: Tokenizer): readonly AskedTask[] {
  const wanted = tasks.filter(({ name }) => flags.tasks?.includes(name));
  const sandbox = openSandbox(flags);
  return wanted.map((task) => {
    const loaded = task.load({
      ...{ dataDir: flags.dataDir ?? "", mode, limit: flags.limit, shots: flags.shots ?? 5 },
      fewShot: flags.fewShot ?? false,
      tokensOf: (text) => Array.from(tokenizer.encode(text), (id) => tokenizer.decode([id])),
      runProgram: sandbox?.run,
    });
    const kind = loaded.items[0]?.query.kind;
    const how = kind === undefined ? [] : [askedHow[kind]];
    const notes = [...loaded.notes, ...how, ...codeNotes(task.name, sandbox)];
    return { ...loaded, name: task.name, notes };
  });
}

/** What a reader must know to compare scores: the same model can be asked in several ways. */
const askedHow: Readonly<Record<Query["kind"], string>> = {
  letters: "asked as a base model: the letter with the largest logit is its answer",
  continue: "asked as a base model, which goes on greedily",
  chat: "asked as a chat model (ChatML), which answers greedily, without a penalty of repetitions",
};

function openSandbox({
  tasks: wanted = [],
  runGeneratedCode,
  allowNetwork = false,
}: TaskFlags): PythonSandbox | undefined {
  if (!wanted.includes("humaneval") || runGeneratedCode !== true) return undefined;
  return openPythonSandbox({ allowNetwork });
}

function codeNotes(task: string, sandbox: PythonSandbox | undefined): readonly string[] {
  if (task !== "humaneval") return [];
  if (sandbox !== undefined) return [sandbox.isolation];
  return ["the completions were not run, so there is no score: --run-generated-code runs them"];
}

async function evaluateTexts(
  { texts, text, models }: TaskEvaluationRequest,
  run: RunDirectory | undefined,
  context: Context,
): Promise<readonly TextResult[]> {
  const results: TextResult[] = [];
  for (const [i, data] of texts.entries()) {
    const keep = (table: Uint8Array): string => {
      const name = `tokens/text-${i + 1}.arrow`;
      run?.write(name, table);
      return name;
    };
    const score = () =>
      evaluateText({ ...text, data, models }, context, run === undefined ? undefined : keep);
    results.push((await run?.part(`text-${i + 1}`, textResult, score)) ?? (await score()));
  }
  return results;
}

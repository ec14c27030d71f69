// What a task is: questions for a model, and how its answers are judged. How a model answers is an Answerer's matter, so that
// tasks run without weights in tests.

/** Whether a model continues text or answers in ChatML. Qwen's scripts ask the two differently. */
export type TaskMode = "base" | "chat";

/** Which letter is most likely the next token. */
export type LettersQuery = {
  readonly kind: "letters";
  readonly prompt: string;
  /** Each a single token; the first of equals wins. */
  readonly letters: readonly string[];
  /** Of a longer prompt only so many tokens at its end are used. */
  readonly maxTokens: number;
};

/** How the text goes on, greedily. */
export type ContinueQuery = {
  readonly kind: "continue";
  readonly prompt: string;
  readonly maxNewTokens: number;
  /** Texts it ends before. */
  readonly stop: readonly string[];
  /** Whether control tokens in the prompt are read as such. */
  readonly allowedSpecial: "all" | "none";
};

/** What a chat model answers to a first message, greedily. */
export type ChatQuery = { readonly kind: "chat"; readonly message: string };

export type Query = LettersQuery | ContinueQuery | ChatQuery;

export type Reply = {
  /** What was generated, or the letter that was chosen. */
  readonly text: string;
  /** Of each letter, in fp32; empty for generated text. */
  readonly logits: readonly number[];
  /** Whether the prompt's beginning was cut off to fit the model. */
  readonly isCut: boolean;
};

/** A model, or what stands for one. Calls may overlap; each gets what it would get alone. */
export interface Answerer {
  /** The largest of the letters' logits as the next token. */
  letterLogits(query: LettersQuery, signal?: AbortSignal): Promise<Reply>;
  generate(query: ContinueQuery | ChatQuery, signal?: AbortSignal): Promise<Reply>;
}

/** How an answer did. */
export type Grade = {
  /** What was read out of it; null where there was nothing to read. */
  readonly prediction: string | null;
  /** From 0 to 1 by measure; those left out do not count this item. */
  readonly scores: Readonly<Record<string, number>>;
};

export type TaskItem = {
  /** Unique within the task, such as "anatomy/12". */
  readonly id: string;
  /** Such as a subject. */
  readonly group: string;
  /** Items with the same one begin alike, with worked examples; undefined for those that do not. */
  readonly prefix: string | undefined;
  readonly query: Query;
  readonly expected: string;
  grade(reply: Reply): Grade | Promise<Grade>;
};

/** One figure of a task. */
export type Measure = {
  /** Key of `Grade.scores`. */
  readonly id: string;
  readonly title: string;
  /** Such as "accuracy, mean over questions". */
  readonly metric: string;
  /** Whether each item counts the same, or each group. */
  readonly mean: "items" | "groups";
  /** Whether an item is either right or wrong. */
  readonly isBinary: boolean;
};

/** Groups that are reported together; they may overlap. */
export type Category = { readonly name: string; readonly groups: ReadonlySet<string> };

export type LoadedTask = {
  readonly items: readonly TaskItem[];
  /** Empty where answers were asked for but not judged. */
  readonly measures: readonly Measure[];
  readonly categories: readonly Category[];
  /** Directory or file the items came from. */
  readonly data: string;
  /** What a reader must know. */
  readonly notes: readonly string[];
};

export type TaskOptions = {
  readonly dataDir: string;
  readonly mode: TaskMode;
  /** At most so many items, evenly from groups; all by default. */
  readonly limit: number | undefined;
  /** Examples before each question of multiple choice, for base models. */
  readonly shots: number;
  /** Whether chat models get GSM8K's four examples. */
  readonly fewShot: boolean;
  /** What the model's tokenizer makes of a text. */
  tokensOf(text: string): readonly string[];
  /** Runs a Python program: whether it ended well. Undefined where generated code is not to be run. */
  readonly runProgram: ((program: string) => Promise<boolean>) | undefined;
};

/** One file exporting one of these, and one line in index.ts. */
export type Task = {
  readonly name: string;
  /** @throws EvaluationError EVALUATION_DATA if data is missing or not as published */
  load(options: TaskOptions): LoadedTask;
};

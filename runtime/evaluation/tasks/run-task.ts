// A task's items through a model, many at a time, leaving out what an earlier run has answered.
import { setMaxListeners } from "node:events";
import { z } from "zod";
import { grouped } from "./selection.ts";
import type { Answerer, TaskItem } from "./task.ts";

/** What is kept of an item's answer. */
export type ItemResult = {
  /** Of the item, from 0. */
  readonly index: number;
  readonly id: string;
  readonly group: string;
  readonly prompt: string;
  readonly answer: string;
  /** Of the letters; empty for generated text. */
  readonly logits: readonly number[];
  readonly isCut: boolean;
  readonly prediction: string | null;
  readonly expected: string;
  /** By measure. */
  readonly scores: Readonly<Record<string, number>>;
};

export const itemResult: z.ZodType<ItemResult> = z.object({
  ...{ index: z.number().int().min(0), id: z.string(), group: z.string(), prompt: z.string() },
  ...{ answer: z.string(), logits: z.array(z.number()), isCut: z.boolean() },
  ...{ prediction: z.string().nullable(), expected: z.string() },
  scores: z.record(z.string(), z.number()),
});

export type RunTaskOptions = {
  /** What is there already, by index. */
  readonly answered?: ReadonlyMap<number, ItemResult>;
  /** Items asked together, 64 by default. */
  readonly together?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called as answers come, in any order. */
  onResult?(result: ItemResult): void;
};

const defaultTogether = 64;

/**
 * @returns a result for each item, in their order
 * @throws what the answerer throws; the signal's reason
 */
export async function runTask(
  items: readonly TaskItem[],
  answerer: Answerer,
  options: RunTaskOptions = {},
): Promise<readonly ItemResult[]> {
  const { answered = new Map(), together = defaultTogether } = options;
  const results = new Map<number, ItemResult>(answered);
  // Ends all that are under way when one fails; each listens.
  const failure = new AbortController();
  const { signal: failed } = failure;
  const signal = options.signal === undefined ? failed : AbortSignal.any([options.signal, failed]);
  setMaxListeners(0, signal);
  const answer = async (index: number): Promise<void> => {
    signal.throwIfAborted();
    const result = await answerItem(items[index] as TaskItem, index, { answerer, signal });
    results.set(index, result);
    options.onResult?.(result);
  };
  const open = [...items.keys()].filter((index) => !results.has(index));
  for (const batch of batchesOf(items, open)) {
    const waiting = batch.values();
    const work = async () => {
      for (const index of waiting) await answer(index);
    };
    try {
      await Promise.all(Array.from({ length: together }, work));
    } catch (error) {
      failure.abort(error);
      throw error;
    }
  }
  return [...items.keys()].map((index) => results.get(index) as ItemResult);
}

/** The first of those that begin alike goes ahead: what it computes of their common beginning serves the others. */
function batchesOf(
  items: readonly TaskItem[],
  open: readonly number[],
): readonly (readonly number[])[] {
  const byPrefix = grouped(open, (index) => items[index]?.prefix);
  return [...byPrefix].flatMap(([prefix, indexes]) =>
    prefix === undefined ? [indexes] : [indexes.slice(0, 1), indexes.slice(1)],
  );
}

async function answerItem(
  item: TaskItem,
  index: number,
  { answerer, signal }: { readonly answerer: Answerer; readonly signal: AbortSignal },
): Promise<ItemResult> {
  const { id, group, query, expected } = item;
  const reply =
    query.kind === "letters"
      ? await answerer.letterLogits(query, signal)
      : await answerer.generate(query, signal);
  const { prediction, scores } = await item.grade(reply);
  const prompt = query.kind === "chat" ? query.message : query.prompt;
  const { text: answer, logits, isCut } = reply;
  return { index, id, group, prompt, answer, logits, isCut, prediction, expected, scores };
}

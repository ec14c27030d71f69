import { CheckpointError } from "../errors.ts";
import type { JsonObject } from "../json.ts";
import { autogptq } from "./autogptq.ts";
import { judge, type Loader, type Verdict } from "./rule.ts";
import { plannedSubject, readSubject, type Subject } from "./subject.ts";
import { type TensorParallelSize, tensorParallelSizes } from "./tensor-parallel.ts";
import { transformers } from "./transformers.ts";
import { vllm } from "./vllm.ts";

export type { Finding, RuleKind, Verdict } from "./rule.ts";
export { plannedTensorParallelSizes, type TensorParallelSize } from "./tensor-parallel.ts";

const loaders: readonly Loader[] = [vllm, transformers, autogptq];

export const loaderNames: readonly Loader["name"][] = loaders.map(({ name }) => name);

export type LoaderCheck = {
  readonly dir: string;
  readonly verdicts: readonly Verdict[];
  readonly tensorParallel: readonly TensorParallelSize[];
};

/**
 * What other programs make of a GPTQ directory, by their rules; none of them is run. Zeros, group indices and
 * biases are read, packed weights are not.
 *
 * @throws CheckpointError CHECKPOINT_NOT_FOUND if there is no such directory, CHECKPOINT_UNSUPPORTED if it holds
 *   a model that is not quantized
 */
export function checkLoaders(dir: string): LoaderCheck {
  const subject = readSubject(dir);
  refuseFloat(subject);
  return {
    dir: subject.dir,
    verdicts: loaders.map((loader) => judge(loader, subject)),
    tensorParallel: tensorParallelSizes(subject),
  };
}

/** A loader that does not do what a model asks for. */
export type LoaderLimit = Pick<Verdict, "loader" | "title"> & {
  readonly reasons: readonly string[];
};

/**
 * Loaders that a result will not load in although nothing is wrong with it, before it is written.
 *
 * @param dir     the source's directory, for messages
 * @param config  config.json of the result, with quantization_config
 */
export function plannedLimits(dir: string, config: JsonObject): readonly LoaderLimit[] {
  const subject = plannedSubject(dir, config);
  return loaders.flatMap((loader) => {
    const { findings, title } = judge(loader, subject);
    const limits = findings.filter(({ kind }) => kind === "limit");
    const reasons = limits.map(({ reason }) => reason);
    return reasons.length === 0 ? [] : [{ loader: loader.name, title, reasons }];
  });
}

function refuseFloat({ dir, problems, settings, tensors }: Subject): void {
  const isDeclared = settings.embedded !== undefined || settings.separate !== undefined;
  const isPacked = [...tensors.keys()].some((name) => name.endsWith(".qweight"));
  if (isDeclared || isPacked || problems.length > 0) return;
  throw new CheckpointError(
    "CHECKPOINT_UNSUPPORTED",
    `${dir}: this model is not quantized; there is nothing to check. Pass the output of a quantization`,
  );
}

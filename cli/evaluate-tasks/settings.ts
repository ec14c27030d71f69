// All that decides the results of a run, so that only a run with the same goes on from what another left.
import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import type { JsonObject, TaskMode } from "../../runtime/index.ts";
import { InputError } from "../errors.ts";
import { fingerprint, type NamedModel } from "./run-models.ts";
import type { TaskEvaluationRequest } from "./task-evaluation.ts";
import type { AskedTask } from "./task-results.ts";

export function settingsOf(
  { models, texts, text, flags }: TaskEvaluationRequest,
  {
    named,
    mode,
    asked,
  }: {
    readonly named: readonly NamedModel[];
    readonly mode: TaskMode;
    readonly asked: readonly AskedTask[];
  },
): JsonObject {
  const { allowedSpecial, window, stride, maxTokens, longContext } = text;
  const settings = {
    models: named.map((model, i) => ({
      dir: model.inspection.dir,
      files: fingerprint(model),
      arithmetic: models[i]?.arithmetic ?? {},
    })),
    tasks: flags.tasks ?? [],
    ...{ mode, longContext, samples: flags.samples ?? [], speed: flags.speed ?? false },
    texts: texts.map(stateOf),
    ...{ window, stride, maxTokens: maxTokens ?? null },
    allowedSpecial: typeof allowedSpecial === "string" ? allowedSpecial : [...allowedSpecial],
    questions: Object.fromEntries(asked.map((task) => [task.name, digestOf(task)])),
    runsGeneratedCode: flags.runGeneratedCode ?? false,
  };
  return JSON.parse(JSON.stringify(settings)) as JsonObject;
}

function stateOf(path: string): string {
  try {
    const { size, mtimeMs } = statSync(path);
    return `${path} ${size} ${Math.round(mtimeMs)}`;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`${path}: cannot be read: ${reason}`, { cause });
  }
}

/** Of what is asked and expected. */
function digestOf({ items }: AskedTask): string {
  const hash = createHash("sha256");
  for (const { id, query, expected } of items) hash.update(JSON.stringify([id, query, expected]));
  return hash.digest("hex");
}

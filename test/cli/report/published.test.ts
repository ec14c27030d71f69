import { describe, expect, test } from "vitest";
import { publishedFigures } from "../../../cli/report/published-figures.ts";
import type { EvaluationRun, RunModel, TaskResult } from "../../../cli/run-directory/format.ts";

const model = (dir: string, scheme: string | null = null): RunModel => ({
  ...{ name: dir, dir, weightBytes: 1, bitsPerWeight: null, scheme },
  ...{ quantizationReport: null, speed: null },
});

function run(models: readonly RunModel[], tasks: Readonly<Record<string, number>>): EvaluationRun {
  const result = (id: string, score: number): TaskResult => ({
    ...{ task: id, title: id, metric: "accuracy", items: 10, data: "d", notes: [], answers: [] },
    models: models.map((_, i) => ({
      ...{ score: score - i / 100, interval: { low: 0, high: 1 }, categories: [] },
      difference: null,
    })),
  });
  return {
    ...{ format: 1, nibble: "0", command: "c", startedAt: "s", seconds: 1 },
    ...{ machine: { cpu: "c", threads: 1 }, models, texts: [], samples: [] },
    tasks: Object.entries(tasks).map(([id, score]) => result(id, score)),
  };
}

describe("figures of model cards", () => {
  test("stand beside those of a chat model by its precision", () => {
    const models = [
      model("/models/Qwen/Qwen-7B-Chat"),
      model("Qwen-1_8B-Chat-Int4", "int4 g128, act-order with static groups"),
    ];
    const found = publishedFigures(run(models, { mmlu: 0.55, "tool-use-input": 0.9 }));
    expect(found.map(({ what, published }) => [what, published])).toEqual([
      ["mmlu: Qwen-7B-Chat, BF16", 55.8],
      ["tool-use-input: Qwen-7B-Chat, BF16", 0.9],
      ["mmlu: Qwen-1.8B-Chat, Int4", 42.9],
    ]);
    expect(found.map(({ measured }) => measured)).toEqual([
      expect.closeTo(55),
      expect.closeTo(0.9),
      expect.closeTo(54),
    ]);
  });

  test("are those of a base model for one without -Chat", () => {
    const [found] = publishedFigures(run([model("Qwen-14B")], { cmmlu: 0.7 }));
    expect(found).toMatchObject({ what: "cmmlu: Qwen-14B, BF16", published: 71.0 });
  });

  test("are none for other models, and for precisions that no card has", () => {
    for (const dir of ["examples/qwen-mini", "Qwen-7Balloons", "Qwen1.5-7B-Chat"]) {
      expect(publishedFigures(run([model(dir)], { mmlu: 0.5 })), dir).toEqual([]);
    }
    expect(publishedFigures(run([model("Qwen-7B-Chat", "int3 g128")], { mmlu: 0.5 }))).toEqual([]);
    expect(publishedFigures(run([model("Qwen-7B", "int4 g128")], { mmlu: 0.5 }))).toEqual([]);
  });
});

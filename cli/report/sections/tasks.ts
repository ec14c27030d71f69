import { details, figureOf, mark, section, table } from "../elements.ts";
import { type Html, type HtmlValue, html } from "../html.ts";
import type { Report } from "../model.ts";
import { type IntervalRow, intervalPlot } from "../plots/intervals.ts";
import {
  counted,
  intervalText,
  largerIsBetter,
  lastPart,
  percent,
  pValueText,
  signedPercent,
  verdict,
} from "../words.ts";

type Task = Report["run"]["tasks"][number];

/** Scores of tasks; undefined without one. */
export async function tasksSection({ run }: Report): Promise<Html | undefined> {
  const { tasks, models } = run;
  if (tasks.length === 0) return undefined;
  const names = models.map(({ name }) => name);
  const titles = counted(tasks.map(({ title }) => title));
  const rows = tasks.flatMap((task, number) =>
    task.models.map(
      ({ score, interval }, i): IntervalRow => ({
        ...{ group: titles[number] ?? "", model: names[i] ?? "", value: score, interval },
      }),
    ),
  );
  const plot = await intervalPlot(rows, {
    label: `Scores of ${names.join(", ")} on ${tasks.map(({ title }) => title).join(", ")}, with intervals`,
    ...{ axis: "score", format: "~%", models: names, firstColor: 0 },
  });
  return section({
    id: "tasks",
    title: "Tasks",
    body: [
      figureOf(plot, html`Scores with intervals of 95 % confidence.`),
      tasks.map((task) => taskPart(task, names)),
    ],
  });
}

function taskPart(task: Task, names: readonly string[]): Html {
  const rows = task.models.map(({ score, interval, difference }, i): HtmlValue[] => [
    ...[names[i], percent(score), intervalText(interval, percent)],
    difference === null
      ? "–"
      : html`${signedPercent(difference.value)} ${mark(verdict(difference, largerIsBetter(task)))}`,
    difference === null ? "–" : intervalText(difference.interval, signedPercent),
    difference === null ? "–" : pValueText(difference.pValue),
  ]);
  const methods = [...new Set(task.models.flatMap(({ difference }) => difference?.method ?? []))];
  const headers = ["score", "interval", "difference", "interval of the difference", "p"];
  const notes = task.notes.map((note) => html`<li>${note}</li>\n`);
  return html`<h3>${task.title}</h3>
<p class="note">${task.metric}; ${task.items} items of ${lastPart(task.data)}.</p>
${notes.length > 0 ? html`<ul class="note">\n${notes}</ul>\n` : undefined}${table({
  caption: `Scores${methods.length === 0 ? "" : `; differences: ${methods.join(", ")}`}`,
  label: task.title,
  columns: [{ header: "model", isText: true }, ...headers.map((header) => ({ header }))],
  rows,
})}${categoriesPart(task, names)}`;
}

function categoriesPart(task: Task, names: readonly string[]): HtmlValue {
  const categories = task.models[0]?.categories ?? [];
  if (categories.length === 0) return undefined;
  const scoreOf = (model: Task["models"][number], category: string) =>
    model.categories.find(({ name }) => name === category)?.score;
  const rows = categories.map(({ name, items }): HtmlValue[] => [
    ...[name, items],
    ...task.models.map((model) => {
      const score = scoreOf(model, name);
      return score === undefined ? "–" : percent(score, 1);
    }),
  ]);
  return details(
    `${categories.length} categories`,
    table({
      caption: `${task.title} by category`,
      label: `${task.title} by category`,
      columns: [
        { header: "category", isText: true },
        ...["items", ...names].map((header) => ({ header })),
      ],
      rows,
    }),
  );
}

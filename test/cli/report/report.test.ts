// The command: what it writes, and what it says of runs that are not in order.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tableFromIPC } from "apache-arrow";
import { marked } from "marked";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { modelCard } from "../../../cli/report/markdown.ts";
import { buildReport } from "../../../cli/report/model.ts";
import { reportPage } from "../../../cli/report/page.ts";
import { readRun } from "../../../cli/report/read-run.ts";
import type { EvaluationRun } from "../../../cli/run-directory/format.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { nibble, object } from "../support.ts";
import { makeHostile } from "./hostile.ts";
import { writeRun, writeRunJson } from "./run-fixture.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const dir = join(work.path, "run");
let run: EvaluationRun;
beforeAll(async () => {
  run = await writeRun(dir, work.path);
});

describe("nibble report", () => {
  test("writes page, model card, JSON and tables, and the same each time", async () => {
    const out = join(work.path, "out");
    const result = object(
      await nibble(["report", dir, "-o", out, "--title", "A <title>", "--json"]),
    );
    expect(result["title"]).toBe("A <title>");
    const files = result["files"] as string[];
    expect(files.map((file) => file.slice(out.length + 1))).toEqual([
      ...["report.html", "model-card.md", "report.json"],
      ...["models", "texts", "kl", "positions", "tasks", "categories", "linears"].map(
        (name) => `tables/${name}.arrow`,
      ),
    ]);
    const page = readFileSync(join(out, "report.html"), "utf8");
    expect(page).toContain("<title>A &lt;title&gt;</title>");
    // Two texts of the same name are told apart.
    expect(page).toContain("<h3>evaluation.txt (2)</h3>");
    expect(JSON.parse(readFileSync(join(out, "report.json"), "utf8"))).toMatchObject({
      format: 1,
      run,
    });
    expect(existsSync(join(dir, "report.html"))).toBe(false);
    const before = files.map((file) => readFileSync(file));
    expect((await nibble(["report", dir, "-o", out, "--title", "A <title>"])).status).toBe(0);
    expect(files.map((file) => readFileSync(file).equals(before[files.indexOf(file)]!))).toEqual(
      files.map(() => true),
    );
  });

  test("has every figure of the run in its tables", async () => {
    expect((await nibble(["report", dir])).status).toBe(0);
    const table = (name: string) =>
      tableFromIPC(readFileSync(join(dir, "tables", `${name}.arrow`)));
    const rows = (name: string) =>
      table(name)
        .toArray()
        .map((row) => row.toJSON());
    const [text] = run.texts;
    expect(rows("texts").map(({ model, perplexity }) => [model, perplexity])).toEqual(
      run.texts.flatMap(({ models }) =>
        models.map(({ perplexity }, i) => [run.models[i]!.name, perplexity]),
      ),
    );
    expect(rows("texts")[2]).toMatchObject({
      ...{ meanKl: text!.models[2]!.divergence!.meanKl, isNoise: 0, pValue: null },
      differenceLow: text!.models[2]!.difference!.interval.low,
    });
    expect(rows("models")[1]).toMatchObject({ ...run.models[1]!.speed, weightBytes: 11_400_000 });
    expect(rows("tasks").length).toBe(6);
    expect(rows("categories").length).toBe(57 * 3);
    expect(rows("linears").length).toBe(80);
    // Each column has a value in some row: none is misnamed.
    for (const name of ["models", "texts", "kl", "positions", "categories"]) {
      for (const { name: column } of table(name).schema.fields) {
        const values = rows(name).map((row) => row[column]);
        if (column !== "pValue")
          expect(
            values.some((value) => value !== null),
            column,
          ).toBe(true);
      }
    }
    const own = rows("kl").filter(({ model }) => model === "int4");
    expect(own.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(run.texts.length, 9);
    const linear = rows("linears").find(({ name }) => name === "transformer.h.3.mlp.w1");
    expect(linear).toMatchObject({ model: "int8", layer: 3, kind: "mlp.w1", bits: 8 });
  });

  test("makes a model card of which no name or text can leave its cell", async () => {
    const card = modelCard(buildReport(await readRun(dir)));
    expect(card).toContain("| `int4` | 43.");
    expect(card).toMatch(/\| `int8` \| [\d.]+ \| [^|]* \(noise\) \|/);
    expect(card).toContain(run.command);
    const hostile = join(work.path, "hostile");
    cpSync(dir, hostile, { recursive: true });
    makeHostile(hostile);
    const made = modelCard(buildReport(await readRun(hostile)));
    const count = (text: string, tag: string) =>
      (marked.parse(text, { async: false }).match(new RegExp(`<${tag}[ >]`, "g")) ?? []).length;
    for (const tag of ["h2", "h3", "table", "tr", "td", "li", "pre"]) {
      expect(count(made, tag), tag).toBe(count(card, tag));
      expect(count(made, tag), tag).toBeGreaterThan(0);
    }
    for (const tag of ["h1", "img", "script", "style", "svg", "em"]) {
      expect(count(made, tag), tag).toBe(0);
    }
    expect(marked.parse(made, { async: false })).not.toContain('href="javascript');
  });

  test("shows published figures where a lookup knows some, and no section where none does", async () => {
    const files = await readRun(dir);
    const figures = [
      { what: "MMLU, Int4", published: 43.3, measured: 41, source: "the model card" },
      { what: "C-Eval, Int4", published: 55.6, measured: null, source: "the model card" },
    ];
    const page = await reportPage(buildReport(files, { published: () => figures }));
    expect(page).toMatch(/MMLU, Int4<\/th><td>43\.3<\/td><td>41\.0<\/td><td>−2\.30<\/td>/);
    expect(page).toMatch(/C-Eval, Int4<\/th><td>55\.6<\/td><td>–<\/td>/);
    expect(await reportPage(buildReport(files))).not.toContain("published figures");
  });

  test("is content with a run of one model and nothing but a text", async () => {
    const single = join(work.path, "single");
    cpSync(dir, single, { recursive: true });
    const { texts, models } = run;
    const text = { ...texts[0]!, models: texts[0]!.models.slice(0, 1) };
    const model = { ...models[0]!, speed: null, bitsPerWeight: null };
    writeRunJson(single, { ...run, models: [model], texts: [text], tasks: [], samples: [] });
    expect(await nibble(["report", single])).toMatchObject({ status: 0, stderr: "" });
    const page = readFileSync(join(single, "report.html"), "utf8");
    expect(page).toContain("qwen-mini: evaluation");
    expect([...page.matchAll(/<h2 id="(\w+)"/g)].map(([, id]) => id)).toEqual([
      ...["overview", "accuracy", "positions", "reproduce"],
    ]);
    writeRunJson(single, { ...run, models: [model], texts: [], tasks: [], samples: [] });
    expect(await nibble(["report", single])).toMatchObject({ status: 0, stderr: "" });
  });

  test("says so where models give the same distributions", async () => {
    const same = join(work.path, "same");
    cpSync(dir, same, { recursive: true });
    const files = await readRun(same);
    const tokens = files.tokens.map((columns) => {
      const zero = new Float32Array(columns.position.length);
      return { ...columns, divergences: [undefined, zero, zero] };
    });
    const page = await reportPage(buildReport({ ...files, tokens }));
    expect(page).toContain("KL divergence is 0 at every token");
  });
});

describe("a run that is not in order ends with 3 and one line that names", () => {
  /** A run whose fields may become what they must not be. */
  // biome-ignore lint/suspicious/noExplicitAny: wrong fields are the point
  type Editable = any;
  type Break = (dir: string) => void;
  const json = (change: (run: Editable) => void): Break => {
    return (broken) => {
      const copy = structuredClone(run) as Editable;
      change(copy);
      writeRunJson(broken, copy);
    };
  };
  const cases: readonly [string, Break, readonly string[]][] = [
    ["no run.json", (at) => rmSync(join(at, "run.json")), ["run.json", "--output RUN"]],
    ["no JSON", (at) => writeFileSync(join(at, "run.json"), "{"), ["run.json: not JSON"]],
    ["another format", json((one) => (one["format"] = 2)), ["run.json: format"]],
    ["a field of another kind", json((one) => (one["texts"][0].window = "8")), ["texts.0.window"]],
    ["no model", json((one) => (one["models"] = [])), ["models", "none"]],
    ["two models of one name", json((one) => (one["models"][1].name = "int4")), ["same name"]],
    [
      "a result short",
      json((one) => one["texts"][0].models.pop()),
      ["texts.0.models", "2 results"],
    ],
    [
      "an output too many",
      json((one) => one["samples"][0].outputs.push({ pieces: [] })),
      ["samples.0"],
    ],
    ["a missing table", (at) => rmSync(join(at, "tokens-1.arrow")), ["tokens-1.arrow"]],
    [
      "a table that is none",
      (at) => writeFileSync(join(at, "tokens-1.arrow"), "no table"),
      ["tokens-1.arrow"],
    ],
    [
      "a table cut short",
      (at) => {
        const bytes = readFileSync(join(at, "tokens-1.arrow"));
        writeFileSync(join(at, "tokens-1.arrow"), bytes.subarray(0, bytes.length / 2));
      },
      ["tokens-1.arrow"],
    ],
    ["a missing report", (at) => rmSync(join(at, "int4-report.json")), ["int4-report.json"]],
    [
      "a report that is none",
      (at) => writeFileSync(join(at, "int4-report.json"), "[]"),
      ["int4-report.json", "a model's report.json"],
    ],
    [
      "a file elsewhere",
      json((one) => (one["texts"][0].tokens = "../../secret.arrow")),
      ["../../secret.arrow", "outside"],
    ],
  ];

  test.each(cases)("%s", async (name, damage, named) => {
    const broken = join(work.path, `broken ${name}`);
    cpSync(dir, broken, { recursive: true });
    rmSync(join(broken, "report.html"), { force: true });
    damage(broken);
    const { status, stderr, stdout } = await nibble(["report", broken]);
    expect(status, stderr).toBe(3);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^error: [^\n]*\n$/);
    for (const part of named) expect(stderr).toContain(part);
    expect(existsSync(join(broken, "report.html"))).toBe(false);
  });

  test("a directory that is not there, and an output that is a file", async () => {
    const missing = await nibble(["report", join(work.path, "nowhere")]);
    expect(missing).toMatchObject({ status: 3 });
    expect(missing.stderr).toContain("no such directory");
    const file = join(work.path, "a-file");
    writeFileSync(file, "");
    const refused = await nibble(["report", dir, "-o", file]);
    expect(refused).toMatchObject({ status: 2 });
    expect(refused.stderr).toContain("--output");
    mkdirSync(join(work.path, "empty"));
    expect(await nibble(["report", join(work.path, "empty")])).toMatchObject({ status: 3 });
  });
});

// The report's figures as Arrow files (random access, "Feather V2"), for those who plot or compare them.
import type { Report } from "./model.ts";

type Value = string | number | null;
type Row = Readonly<Record<string, Value>>;

/** A table without rows has its columns too. */
type TableParts = { readonly columns: readonly string[]; readonly rows: readonly Row[] };

/** Columns of words; all others are numbers. */
const words: ReadonlySet<string> = new Set([
  ...["model", "directory", "scheme", "text", "task", "category"],
  ...["name", "kind", "method", "fallback"],
]);

/**
 * Arrow files by name, without ".arrow": utf8 and float64 columns; what was not measured is null.
 */
export async function reportTables(report: Report): Promise<ReadonlyMap<string, Uint8Array>> {
  const tables: Readonly<Record<string, TableParts>> = {
    models: modelRows(report),
    texts: textRows(report),
    kl: klRows(report),
    positions: positionRows(report),
    tasks: taskRows(report),
    categories: categoryRows(report),
    linears: linearRows(report),
  };
  const files = new Map<string, Uint8Array>();
  for (const [name, parts] of Object.entries(tables)) files.set(name, await arrowFile(parts));
  return files;
}

async function arrowFile({ columns, rows }: TableParts): Promise<Uint8Array> {
  // Loaded here, since it takes longer than the start of the whole program.
  const { Float64, Table, tableToIPC, Utf8, vectorFromArray } = await import("apache-arrow");
  const vectors = columns.map((name) => {
    const values = rows.map((row) => row[name] ?? null);
    return [name, vectorFromArray(values, words.has(name) ? new Utf8() : new Float64())] as const;
  });
  return tableToIPC(new Table(Object.fromEntries(vectors)), "file");
}

function modelRows({ run }: Report): TableParts {
  const columns = [
    "model",
    "directory",
    "scheme",
    "bitsPerWeight",
    "weightBytes",
    "tokensPerSecond",
    "peakBytes",
  ];
  const rows = run.models.map(({ name, dir, scheme, bitsPerWeight, weightBytes, speed }) => ({
    ...{ model: name, directory: dir, scheme, bitsPerWeight, weightBytes },
    ...{ tokensPerSecond: speed?.tokensPerSecond ?? null, peakBytes: speed?.peakBytes ?? null },
  }));
  return { columns, rows };
}

const differenceColumns = ["difference", "differenceLow", "differenceHigh", "pValue", "isNoise"];

type Difference = Report["run"]["texts"][number]["models"][number]["difference"];

/** 1 and 0 for whether it is noise. */
function differenceCells(difference: Difference): Row {
  if (difference === null) return {};
  const { value, interval, pValue, isNoise } = difference;
  const bounds = { differenceLow: interval.low, differenceHigh: interval.high };
  return { difference: value, ...bounds, pValue, isNoise: isNoise ? 1 : 0 };
}

function textRows({ run }: Report): TableParts {
  const columns = [
    "text",
    "model",
    "perplexity",
    "loss",
    ...differenceColumns,
    "meanKl",
    "meanKlLow",
    "meanKlHigh",
    "p99Kl",
    "maxKl",
    "top1",
  ];
  const rows = run.texts.flatMap(({ data, models }) =>
    models.map(({ perplexity, loss, difference, divergence }, i): Row => {
      const { meanKl = null, interval, p99Kl = null, maxKl = null, top1 = null } = divergence ?? {};
      return {
        ...{ text: data, model: run.models[i]?.name ?? null, perplexity, loss },
        ...differenceCells(difference),
        ...{ meanKl, meanKlLow: interval?.low ?? null, meanKlHigh: interval?.high ?? null },
        ...{ p99Kl, maxKl, top1 },
      };
    }),
  );
  return { columns, rows };
}

function klRows({ run, texts }: Report): TableParts {
  const columns = ["text", "model", "low", "high", "share"];
  const rows = texts.flatMap(({ klHistogram }, text) => {
    const { edges = [], shares = [] } = klHistogram ?? {};
    return shares.flatMap((own, i) =>
      own.map(
        (share, bin): Row => ({
          ...{ text: run.texts[text]?.data ?? null, model: run.models[i + 1]?.name ?? null },
          ...{ low: edges[bin] ?? null, high: edges[bin + 1] ?? null, share },
        }),
      ),
    );
  });
  return { columns, rows };
}

function positionRows({ run, texts }: Report): TableParts {
  const columns = [
    "text",
    "model",
    "first",
    "last",
    "tokens",
    "perplexity",
    "change",
    "changeLow",
    "changeHigh",
  ];
  const rows = texts.flatMap(({ positions }, text) =>
    positions.flatMap(({ first, last, tokens, perplexity, change }) =>
      perplexity.map(
        (value, i): Row => ({
          ...{ text: run.texts[text]?.data ?? null, model: run.models[i]?.name ?? null },
          ...{ first, last, tokens, perplexity: value, change: change[i]?.value ?? null },
          changeLow: change[i]?.interval.low ?? null,
          changeHigh: change[i]?.interval.high ?? null,
        }),
      ),
    ),
  );
  return { columns, rows };
}

function taskRows({ run }: Report): TableParts {
  const columns = [
    "task",
    "model",
    "items",
    "score",
    "scoreLow",
    "scoreHigh",
    ...differenceColumns,
  ];
  const rows = run.tasks.flatMap(({ task, items, models }) =>
    models.map(
      ({ score, interval, difference }, i): Row => ({
        ...{ task, model: run.models[i]?.name ?? null, items, score },
        ...{ scoreLow: interval.low, scoreHigh: interval.high, ...differenceCells(difference) },
      }),
    ),
  );
  return { columns, rows };
}

function categoryRows({ run }: Report): TableParts {
  const columns = ["task", "model", "category", "items", "score"];
  const rows = run.tasks.flatMap(({ task, models }) =>
    models.flatMap(({ categories }, i) =>
      categories.map(
        ({ name, score, items }): Row => ({
          ...{ task, model: run.models[i]?.name ?? null, category: name, items, score },
        }),
      ),
    ),
  );
  return { columns, rows };
}

function linearRows({ run, quantizations }: Report): TableParts {
  const columns = [
    "model",
    "name",
    "layer",
    "kind",
    "method",
    "bits",
    "groupSize",
    "relativeError",
    "fallback",
  ];
  const rows = quantizations.flatMap((details, i) =>
    (details?.linears ?? []).map(
      (linear): Row => ({ model: run.models[i]?.name ?? null, ...linear }),
    ),
  );
  return { columns, rows };
}

// What calibration data comes to, as numbers and as text.

import type { Segments, SourceUse } from "../calibration/index.ts";
import type { Tokenizer } from "../runtime/index.ts";
import { formatField } from "./terminal/field.ts";
import { formatCount, plural, printable } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { type Column, formatTable } from "./terminal/table.ts";

export type CalibrationSummary = {
  readonly segments: number;
  readonly tokens: number;
  /** Tokens that the statistics are made of. */
  readonly counted: number;
  /** Tokens of a segment, at these shares of the segments by length. */
  readonly lengths: Readonly<Record<(typeof quantileNames)[number], number>>;
  /** Different ids among the tokens, of how many there are. */
  readonly distinctIds: number;
  readonly vocabulary: number;
  readonly sources: readonly SourceUse[];
};

const quantileNames = ["shortest", "quarter", "median", "threeQuarters", "longest"] as const;

export type DecodedSegment = {
  readonly tokens: number;
  readonly counted: number;
  /** Text in pieces of which all tokens count, or none. */
  readonly pieces: readonly { readonly text: string; readonly counts: boolean }[];
};

export function summarizeSegments(segments: Segments, vocabulary: number): CalibrationSummary {
  const { ids, tokens, counted, sources } = segments;
  const sorted = ids.map(({ length }) => length).sort((a, b) => a - b);
  const quantile = (i: number) =>
    sorted[Math.round((i * (sorted.length - 1)) / (quantileNames.length - 1))] ?? 0;
  const distinct = new Set<number>();
  for (const segment of ids) for (const id of segment) distinct.add(id);
  return {
    ...{ segments: ids.length, tokens, counted },
    lengths: {
      shortest: quantile(0),
      quarter: quantile(1),
      median: quantile(2),
      threeQuarters: quantile(3),
      longest: quantile(4),
    },
    ...{ distinctIds: distinct.size, vocabulary, sources },
  };
}

/** @param mask  [tokens], 1 where a token counts; undefined where all do */
export function decodeSegment(
  ids: Int32Array,
  mask: Uint8Array | undefined,
  tokenizer: Tokenizer,
): DecodedSegment {
  const pieces: { text: string; counts: boolean }[] = [];
  const counts = (at: number): boolean => mask?.[at] !== 0;
  let counted = 0;
  for (let start = 0; start < ids.length; ) {
    let end = start + 1;
    while (end < ids.length && counts(end) === counts(start)) end++;
    if (counts(start)) counted += end - start;
    pieces.push({ text: tokenizer.decode(ids.subarray(start, end)), counts: counts(start) });
    start = end;
  }
  return { tokens: ids.length, counted, pieces };
}

/** @returns lines of "name  value", a table where there are several sources, and the decoded segments */
export function renderCalibration(
  summary: CalibrationSummary,
  preview: readonly DecodedSegment[],
  output: Output,
): string {
  const { tokens, counted, lengths, sources, distinctIds, vocabulary } = summary;
  const field = (name: string, value: string) => formatField(name, value, 11, output.tableStyle);
  const ofThem = `${formatCount(counted)} count (${percent(counted / tokens)})`;
  const quantiles = `${lengths.quarter} / ${lengths.median} / ${lengths.threeQuarters}`;
  const lines = [
    ...(sources.length === 0 ? [] : documentFields(sources, field)),
    field("segments", formatCount(summary.segments)),
    field("tokens", `${formatCount(tokens)}; ${counted === tokens ? "all count" : ofThem}`),
    field("lengths", `${lengths.shortest} to ${lengths.longest} tokens, quartiles ${quantiles}`),
    field("vocabulary", `${formatCount(distinctIds)} of ${formatCount(vocabulary)} ids occur`),
  ];
  const parts = [lines.join("\n")];
  if (sources.length > 1) parts.push(renderSources(summary, output));
  return [...parts, ...renderPreview(preview, output)].join("\n\n");
}

function documentFields(
  sources: readonly SourceUse[],
  field: (name: string, value: string) => string,
): readonly string[] {
  const sum = (of: (source: SourceUse) => number) =>
    sources.reduce((total, source) => total + of(source), 0);
  const texts = sum(({ documents }) => documents.text);
  const conversations = sum(({ documents }) => documents.conversation);
  const readyMade = sum(({ documents }) => documents.tokens);
  const kinds = [
    ...(texts === 0 ? [] : [plural(texts, "text")]),
    ...(conversations === 0 ? [] : [plural(conversations, "conversation")]),
    ...(readyMade === 0 ? [] : [`${plural(readyMade, "row")} of ready-made ids`]),
  ];
  const used = sum(({ documentsUsed }) => documentsUsed);
  const cut = sum(({ documentsCut }) => documentsCut);
  const dropped = texts + conversations + readyMade - used;
  const fates = [
    `${formatCount(used)} used`,
    ...(dropped === 0 ? [] : [`${formatCount(dropped)} not`]),
    ...(cut === 0 ? [] : [`${plural(cut, "conversation")} longer than a segment and cut`]),
  ];
  return [field("documents", kinds.join(", ")), field("", fates.join(", "))];
}

const sourceColumns: readonly Column[] = [
  { header: "source", align: "left" },
  { header: "weight", align: "right" },
  { header: "documents", align: "right" },
  { header: "used", align: "right" },
  { header: "segments", align: "right" },
  { header: "share", align: "right" },
  { header: "tokens", align: "right" },
  { header: "counted", align: "right" },
];

function renderSources({ sources, segments }: CalibrationSummary, output: Output): string {
  const rows = sources.map((source) => {
    const { text, conversation, tokens } = source.documents;
    return [
      printable(source.name),
      String(source.weight),
      ...[text + conversation + tokens, source.documentsUsed, source.segments].map(formatCount),
      percent(source.segments / segments),
      ...[source.tokens, source.counted].map(formatCount),
    ];
  });
  return formatTable(sourceColumns, rows, output.tableStyle);
}

/** What counts stands out: by colour where there is any, else between ⟦ and ⟧. */
function renderPreview(preview: readonly DecodedSegment[], { colors }: Output): readonly string[] {
  return preview.map(({ tokens, counted, pieces }, i) => {
    const isMarked = counted < tokens;
    const text = pieces.map((piece) => {
      const safe = printable(piece.text);
      if (!isMarked) return safe;
      if (colors.isColorSupported) return piece.counts ? colors.green(safe) : colors.dim(safe);
      return piece.counts ? `⟦${safe}⟧` : safe;
    });
    const some = isMarked ? `, ${formatCount(counted)} count` : "";
    return `${colors.bold(`segment ${i}: ${plural(tokens, "token")}${some}`)}\n${text.join("")}`;
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

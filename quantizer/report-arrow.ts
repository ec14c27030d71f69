// The linears of a report as an Arrow file, for those who plot or compare them: a row each, a column for every field.
import type { DataType } from "apache-arrow";
import type { LinearReport } from "./report.ts";

type Kind = "text" | "integer" | "number";

const columns = {
  name: "text",
  method: "text",
  inFeatures: "integer",
  outFeatures: "integer",
  tokens: "integer",
  loss: "number",
  relativeError: "number",
  damping: "number",
  deadInputs: "integer",
  seconds: "number",
  fallback: "text",
} as const satisfies Record<keyof LinearReport, Kind>;

/**
 * An Arrow IPC file (random access, "Feather V2") with the fields of LinearReport as columns: utf8, float64, and uint32 for
 * counts; undefined is null.
 *
 * @see https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
 */
export async function linearsArrow(linears: readonly LinearReport[]): Promise<Uint8Array> {
  // Loaded here, since it takes longer than the start of the whole program.
  const { Float64, Table, tableToIPC, Uint32, Utf8, vectorFromArray } = await import(
    "apache-arrow"
  );
  const types: Readonly<Record<Kind, DataType>> = {
    text: new Utf8(),
    integer: new Uint32(),
    number: new Float64(),
  };
  const vectors = Object.entries(columns).map(([name, kind]) => {
    const values = linears.map((linear) => linear[name as keyof LinearReport] ?? null);
    return [name, vectorFromArray(values, types[kind])] as const;
  });
  return tableToIPC(new Table(Object.fromEntries(vectors)), "file");
}

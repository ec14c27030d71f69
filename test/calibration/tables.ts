// Writes the same rows in every layout that datasets are published in.

import {
  Field,
  Int32,
  Int64,
  List,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { parquetWriteBuffer } from "hyparquet-writer";

type Cells = readonly unknown[];
export type Columns = Readonly<Record<string, Cells>>;

const nested = {
  messages: ["role", "content"],
  conversations: ["from", "value"],
} as const;

function arrowType(name: string) {
  if (name === "text") return new Utf8();
  if (name === "input_ids") return new List(new Field("item", new Int32()));
  if (name === "long_ids") return new List(new Field("item", new Int64()));
  const fields = nested[name as keyof typeof nested];
  const struct = new Struct(fields.map((field) => new Field(field, new Utf8())));
  return new List(new Field("item", struct));
}

export function arrowTable(columns: Columns, types: Readonly<Record<string, string>> = {}): Table {
  return new Table(
    Object.fromEntries(
      Object.entries(columns).map(([name, cells]) => [
        name,
        vectorFromArray([...cells], arrowType(types[name] ?? name)),
      ]),
    ),
  );
}

export function arrowFile(columns: Columns, format: "file" | "stream"): Uint8Array {
  return tableToIPC(arrowTable(columns), format);
}

export function parquetFile(
  columns: Columns,
  options: Omit<Partial<Parameters<typeof parquetWriteBuffer>[0]>, "columnData"> = {},
): Uint8Array {
  const schema: NonNullable<Parameters<typeof parquetWriteBuffer>[0]["schema"]> = [
    { name: "root", num_children: Object.keys(columns).length },
  ];
  for (const name of Object.keys(columns)) schema.push(...parquetSchema(name));
  const columnData = Object.entries(columns).map(([name, data]) => ({ name, data: [...data] }));
  return new Uint8Array(parquetWriteBuffer({ columnData, schema, ...options }));
}

function parquetSchema(name: string) {
  const text = { type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" } as const;
  if (name === "text") return [{ name, ...text }];
  const list = [
    { name, repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
  ] as const;
  if (name === "input_ids") {
    return [...list, { name: "element", type: "INT64", repetition_type: "OPTIONAL" } as const];
  }
  const fields = nested[name as keyof typeof nested].map((field) => ({ name: field, ...text }));
  return [
    ...list,
    { name: "element", repetition_type: "OPTIONAL", num_children: 2 } as const,
    ...fields,
  ];
}

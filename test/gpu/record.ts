// Results of a part, one JSON object per line, written as they come.
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openComputeDevice } from "../../cli/compute-device.ts";
import type { Device } from "../../kernels/index.ts";

/** The GPU, or what TRIED_DEVICE names: "cpu" to try these scripts themselves. */
export function openTried(): Device {
  return openComputeDevice({ device: process.env["TRIED_DEVICE"] ?? "cuda" });
}

export type Row = Readonly<Record<string, string | number>>;

/** @returns adds a row, and shows it */
export function recorder(
  part: string,
  { continues = false }: { readonly continues?: boolean } = {},
): (row: Row) => void {
  const file = join(process.env["OUT"] ?? "build/gpu", `${part}.json`);
  using device = openTried();
  const heading = {
    ...{ part, date: new Date().toISOString(), device: device.name },
    libraries: device.vendorLibraries,
  };
  if (!continues) writeFileSync(file, "");
  const write = (row: Row) => appendFileSync(file, `${JSON.stringify(row)}\n`);
  write(heading);
  return (row) => {
    write(row);
    const cells = Object.entries(row).map(
      ([name, value]) =>
        `${name} ${typeof value === "number" ? Number(value.toPrecision(4)) : value}`,
    );
    console.info(cells.join("  "));
  };
}

// nibble bench --kv-tables
import { type KvMemoryRow, kvMemory, kvTableCases, type Model } from "../runtime/index.ts";
import type { CommandContext } from "./command.ts";
import { availableMemory } from "./memory.ts";
import { formatBytes } from "./terminal/format.ts";
import { formatTable } from "./terminal/table.ts";

/** What Qwen's tables call off and on. */
const dtypes = ["f16", "int8"] as const;

/** Of free memory, for a cache; the rest is for weights. */
const cacheShare = 0.5;

export async function showKvTables(
  model: Model,
  { output, signal }: CommandContext,
): Promise<void> {
  const available = cacheShare * availableMemory();
  const mappedBytes = mappedWeightBytes(model);
  const rows: Record<(typeof dtypes)[number], KvMemoryRow>[] = [];
  using progress = output.progress();
  for (const [i, row] of kvTableCases.entries()) {
    signal.throwIfAborted();
    progress.update(`batch ${row[0]}, length ${row[1]}`, i / kvTableCases.length);
    const [f16, int8] = [
      await kvMemory(model, row, { dtype: "f16", available, mappedBytes }),
      await kvMemory(model, row, { dtype: "int8", available, mappedBytes }),
    ];
    rows.push({ f16, int8 });
  }
  const report = { model: model.checkpoint.dir, rows };
  output.result(report, () => {
    const cell = ({ bytes, isMeasured }: KvMemoryRow) =>
      `${formatBytes(bytes)}${isMeasured ? "" : " *"}`;
    const table = formatTable(
      [
        { header: "batch", align: "right" },
        { header: "tokens each", align: "right" },
        { header: "16-bit cache", align: "right" },
        { header: "--kv int8", align: "right" },
      ],
      rows.map(({ f16, int8 }) => [String(f16.batch), String(f16.length), cell(f16), cell(int8)]),
      output.tableStyle,
    );
    const note = rows.some(({ f16, int8 }) => !(f16.isMeasured && int8.isMeasured))
      ? "\n* computed: the cache, or the length, is too large to run"
      : "";
    return `${table}${note}`;
  });
}

/** What stays in mapped files: floats. Quantized weights are copied into memory of their own, and counted there. */
function mappedWeightBytes({ checkpoint }: Model): number {
  const packed = /\.(qweight|qzeros|scales|g_idx)$/;
  const floats = [...checkpoint.tensors.values()].filter(({ name }) => !packed.test(name));
  return floats.reduce((sum, { begin, end }) => sum + end - begin, 0);
}

import type { Evaluation } from "./evaluation.ts";

/**
 * An Arrow IPC file with a row per scored token: uint32 `window`, `position` (within the window) and `token`, then for the
 * nth model, from 1, float32 `loss_n` (negative log-likelihood) and `kl_n` (KL divergence from the first), in nats. The schema's
 * metadata has the directory of each model as `model_n`.
 */
export async function tokenTable(
  models: readonly string[],
  { windows, scores }: Evaluation,
): Promise<Uint8Array> {
  // Loaded here, since it takes longer than the start of the whole program.
  const { makeVector, RecordBatch, Schema, Table, tableToIPC } = await import("apache-arrow");
  const columns = { ...placesOf(windows), ...Object.fromEntries(lossColumns(scores)) };
  const vectors = Object.fromEntries(
    Object.entries(columns).map(([name, values]) => [name, makeVector(values)]),
  );
  const plain = new Table(vectors);
  const directories = new Map(models.map((model, i) => [`model_${i + 1}`, model]));
  const schema = new Schema(plain.schema.fields, directories);
  const batches = plain.batches.map(({ data }) => new RecordBatch(schema, data));
  return tableToIPC(new Table(schema, batches), "file");
}

function placesOf(windows: Evaluation["windows"]): Readonly<Record<string, Uint32Array>> {
  const rows = windows.flatMap(({ tokens, firstScored }, window) =>
    Array.from(tokens.subarray(firstScored), (token, i) => [window, firstScored + i, token]),
  );
  const column = (index: number) => Uint32Array.from(rows, (row) => row[index] ?? 0);
  return { window: column(0), position: column(1), token: column(2) };
}

function* lossColumns(scores: Evaluation["scores"]): Generator<readonly [string, Float32Array]> {
  for (const [i, { perToken }] of scores.entries()) {
    yield [`loss_${i + 1}`, perToken.losses];
    if (perToken.divergences !== undefined) yield [`kl_${i + 1}`, perToken.divergences];
  }
}

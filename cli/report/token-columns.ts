// A text's table of scored tokens, as cli/token-table.ts writes it.
import { InputError } from "../errors.ts";

/** A row per scored token. */
export type TokenColumns = {
  /** Within the window */
  readonly position: ArrayLike<number>;
  /** Negative log-likelihoods in nats, by model */
  readonly losses: readonly ArrayLike<number>[];
  /** KL divergence from the first model in nats, by model; undefined for the first */
  readonly divergences: readonly (ArrayLike<number> | undefined)[];
};

/**
 * @param file    for messages
 * @param models  how many the run has
 * @throws InputError if it is no such table
 */
export async function readTokenColumns(
  file: string,
  bytes: Uint8Array,
  models: number,
): Promise<TokenColumns> {
  // Loaded here, since it takes longer than the start of the whole program.
  const { tableFromIPC } = await import("apache-arrow");
  let columns: ReadonlyMap<string, unknown>;
  try {
    const table = tableFromIPC(bytes);
    columns = new Map(
      table.schema.fields.map(({ name }, i) => [name, table.getChildAt(i)?.toArray()]),
    );
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`${file}: cannot be read as an Arrow file: ${reason}; ${advice}`, {
      cause,
    });
  }
  const column = (name: string): ArrayLike<number> => {
    const values = columns.get(name);
    if (values instanceof Float32Array || values instanceof Uint32Array) return values;
    throw new InputError(
      `${file}: expected a column ${name} of numbers, for a run of ${models} models; ${advice}`,
    );
  };
  const indices = Array.from({ length: models }, (_, i) => i);
  return {
    position: column("position"),
    losses: indices.map((i) => column(`loss_${i + 1}`)),
    divergences: indices.map((i) => (i === 0 ? undefined : column(`kl_${i + 1}`))),
  };
}

const advice = "evaluate again with --output";

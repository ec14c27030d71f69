// Why an interrupted run is not what is asked for now, in words that say what to do.
import { QuantizeError } from "./errors.ts";
import type { Fingerprint } from "./journal.ts";

/** As read from a file: anything may be there. */
export type Recorded = Readonly<Partial<Record<keyof Fingerprint, unknown>>>;

/** @throws QuantizeError QUANTIZE_RESUME naming what differs, option by option where it is the recipe */
export function requireSame(dir: string, recorded: Recorded, current: Fingerprint): void {
  const parts = (Object.keys(current) as (keyof Fingerprint)[]).filter(
    (part) => recorded[part] !== current[part],
  );
  if (parts.length === 0) return;
  const differences = parts.flatMap((part) =>
    part === "recipe" ? recipeDifferences(recorded.recipe, current.recipe) : [wordings[part]],
  );
  // Neither a changed file nor another version is undone by repeating a command.
  const canRepeat = !parts.includes("source files") && !parts.includes("program");
  const advice = `${canRepeat ? "repeat its command to continue it, " : ""}start over with --restart`;
  throw new QuantizeError(
    "QUANTIZE_RESUME",
    `${dir}: an interrupted run is waiting there that this one does not continue: ${differences.join("; ")}; ` +
      `${advice}, or choose another directory`,
  );
}

const wordings = {
  program: "it was made by another version",
  source: "it has another source",
  "source files": "the source's files have changed since",
  "calibration data": "it has other calibration data",
  adapter: "it has another adapter, or the adapter's files have changed since",
  device:
    "it was computed by a processor or a GPU where this one is not, or with other libraries of NVIDIA's",
} as const;

function recipeDifferences(recorded: unknown, current: string): readonly string[] {
  const [before, now] = [fields(recorded), fields(current)];
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const shown = (value: unknown) => JSON.stringify(value)?.slice(0, 60) ?? "not set";
  const differences = names
    .filter((name) => shown(before[name]) !== shown(now[name]))
    .map((name) => `${name} was ${shown(before[name])} and is ${shown(now[name])}`);
  return differences.length > 0 ? differences : ["it has another recipe"];
}

function fields(json: unknown): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(String(json));
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {}; // then every option counts as different
  }
}

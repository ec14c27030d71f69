// Model directories damaged at random: whatever a file says, the answer is a result or an error that blames it.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { seeded } from "../support/random.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { below, pick, type Random } from "./mutate-bytes.ts";
import { type Part, partOf, type Subject, subjects } from "./subjects.ts";
import { travel } from "./travel.ts";
import { Watchdog } from "./watchdog.ts";

declare module "vitest" {
  interface ProvidedContext {
    readonly fuzzCases: number;
  }
}

/** Of processor time, which other programs do not lengthen. */
const limitSeconds = 1;
const watchdog = new Watchdog(60_000);
const device = openDevice({ threads: 1 });
const work = temporaryDirectory();
const all = subjects();
const dirOf = (subject: Subject) => join(work.path, subject.name);

beforeAll(() => {
  for (const subject of all) for (const file of subject.files.keys()) restore(subject, file);
});
afterAll(async () => {
  await watchdog[Symbol.asyncDispose]();
  device[Symbol.dispose]();
  work.remove();
});

/** A new file each time: the bytes of one that is mapped must not change. */
function write(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  writeFileSync(path, bytes);
}

function restore(subject: Subject, file: string): void {
  write(join(dirOf(subject), file), subject.files.get(file)?.bytes ?? new Uint8Array());
}

/** Directories have more to damage than single pickles. */
function pickSubject(random: Random): Subject {
  return random() < 0.85 ? pick(all.slice(0, 3), random) : pick(all.slice(3), random);
}

/** Damages one or two files of a directory, all of it decided by the number. */
async function runCase(number: number): Promise<readonly string[]> {
  const random = seeded(number);
  const subject = pickSubject(random);
  const files = new Set<string>();
  for (let i = random() < 0.9 ? 1 : 2; i > 0; i--)
    files.add(pick([...subject.files.keys()], random));
  for (const file of files) {
    const bytes = subject.files.get(file)?.mutate(random, 1 + below(3, random)) ?? new Uint8Array();
    write(join(dirOf(subject), file), bytes);
  }
  const parts = new Set<Part>([...files].map(partOf));
  if (parts.has("model") && subject.files.has("adapter/adapter_config.json")) parts.add("adapter");
  const where = `${subject.name}, ${[...files].join(", ")}`;
  const started = process.cpuUsage();
  try {
    const outcomes = await travel(dirOf(subject), device, parts);
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1e6, where).toBeLessThan(limitSeconds);
    return outcomes;
  } catch (error) {
    throw new Error(`${where}: ${error}`, { cause: error });
  } finally {
    for (const file of files) restore(subject, file);
  }
}

test("undamaged directories are read whole", async () => {
  for (const subject of all.slice(0, 3)) {
    const parts = new Set([...subject.files.keys()].map(partOf));
    const outcomes = await travel(dirOf(subject), device, parts);
    // Only what is quantized has anything for other loaders to judge.
    const expected = outcomes.map((_, i) =>
      i === 1 && subject.name !== "quantized" ? "CHECKPOINT_UNSUPPORTED" : "ok",
    );
    expect(outcomes).toEqual(expected);
  }
});

const cases = inject("fuzzCases");
const perTest = 500;
const seen = new Set<string>();

test.each(Array.from({ length: Math.ceil(cases / perTest) }, (_, i) => i * perTest))(
  "damage gives a result or a typed error within a second, cases from %d",
  async (first) => {
    const failures: string[] = [];
    for (let number = first; number < Math.min(cases, first + perTest); number++) {
      watchdog.tell(number);
      writeFileSync(join(work.path, "case"), `${number}`);
      try {
        for (const outcome of await runCase(number)) seen.add(outcome);
      } catch (error) {
        failures.push(`case ${number}: ${error instanceof Error ? error.stack : error}`);
      }
    }
    expect(failures).toEqual([]);
  },
);

test("the damage reached every kind of check and left some directories usable", () => {
  for (const code of [
    "ok",
    "CHECKPOINT_HEADER",
    "CHECKPOINT_CONFIG",
    "CHECKPOINT_TENSOR",
    "CHECKPOINT_TRUNCATED",
    "CHECKPOINT_UNSUPPORTED",
    "TOKENIZER_VOCABULARY",
    "QUANTIZE_ADAPTER",
    "QUANTIZE_ADAPTER_KIND",
  ]) {
    expect(seen).toContain(code);
  }
});

// Limits of memory, and tokens that do not count.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import {
  parseRecipe,
  type QuantizationReport,
  type QuantizeOptions,
  quantizeModel,
} from "../../quantizer/index.ts";
import { repositoryPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const at = (name: string) => join(temporary.path, name);

// Several batches of 2,048 tokens, so that some stay in memory and some do not.
const segments = Array.from({ length: 12 }, (_, s) =>
  Int32Array.from({ length: 500 }, (__, i) => (s * 97 + i * 31 + ((i * i) % 7)) % 3888),
);

async function run(
  output: string,
  options: Partial<QuantizeOptions> = {},
): Promise<QuantizationReport> {
  using device = openDevice({ threads: 2 });
  return await quantizeModel({
    source: repositoryPath("examples/qwen-mini"),
    output: at(output),
    segments,
    recipe: parseRecipe({}),
    device,
    version: "test",
    ...options,
  });
}

/** Every file but the reports, which hold times. */
function filesOf(output: string): ReadonlyMap<string, string> {
  const names = readdirSync(at(output)).filter((name) => !name.startsWith("report."));
  return new Map(
    names.map((name) => [name, readFileSync(at(join(output, name))).toString("base64")]),
  );
}

describe("a memory limit", () => {
  test("changes where hidden states lie, and no byte of the result; one that nobody asked for is met as well as can be", async () => {
    const whole = await run("whole");
    expect(whole.spilledBytes).toBe(0);
    // 6,000 tokens of 256 + 768 values are 24.6 MB, and as much in the float model.
    const least = await leastMemory();
    const some = await run("some", { memory: { bytes: least + 12e6, isRequired: true } });
    const none = await run("none", { memory: { bytes: 1, isRequired: false } });
    expect(none.spilledBytes).toBe(2 * 4 * 6000 * (256 + 768));
    expect(some.spilledBytes).toBeGreaterThan(0);
    expect(some.spilledBytes).toBeLessThan(none.spilledBytes);
    expect(filesOf("some")).toEqual(filesOf("whole"));
    expect(filesOf("none")).toEqual(filesOf("whole"));
  });

  test("that is too small is refused with what would do, before anything is written", async () => {
    const refused = run("refused", { memory: { bytes: 1e6, isRequired: true } });
    const memory = { name: "QuantizeError", code: "QUANTIZE_MEMORY" };
    await expect(refused).rejects.toMatchObject(memory);
    expect(readdirSync(temporary.path)).not.toContain("refused");
  });
});

/** From the refusal, in bytes. */
async function leastMemory(): Promise<number> {
  const error = await run("least", { memory: { bytes: 1, isRequired: true } }).catch(String);
  const [, gigabytes = ""] = /it takes ([\d.]+) GB/.exec(String(error)) ?? [];
  return Number(gigabytes) * 1e9;
}

describe("tokens that do not count", () => {
  const ones = segments.map(({ length }) => new Uint8Array(length).fill(1));

  test("are left out of the Hessians, though the model sees them", async () => {
    await run("all");
    const halves = segments.map((ids) => Uint8Array.from(ids, (_, i) => (i % 2 === 0 ? 1 : 0)));
    const report = await run("half", { masks: halves });
    expect(new Set(report.linears.map(({ tokens }) => tokens))).toEqual(new Set([3000]));
    expect(filesOf("half").get("model.safetensors")).not.toEqual(
      filesOf("all").get("model.safetensors"),
    );
  });

  test("are none with masks of ones", async () => {
    await run("every");
    await run("ones", { masks: ones });
    expect(filesOf("ones")).toEqual(filesOf("every"));
  });

  test("cannot be all of them", async () => {
    const zeros = segments.map(({ length }) => new Uint8Array(length));
    const refused = run("zeros", { masks: zeros });
    await expect(refused).rejects.toMatchObject({ code: "QUANTIZE_SOURCE" });
  });
});

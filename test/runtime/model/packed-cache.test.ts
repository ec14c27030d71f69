import { appendFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import {
  generate,
  openModel,
  type PackedCacheOptions,
  packedCacheFiles,
  parseSamplingOptions,
} from "../../../runtime/index.ts";
import { quantizeConfig, writeQuantizedQwen } from "../../support/quantized-qwen.ts";
import { safetensors, temporaryDirectory } from "../../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
afterAll(temporary.remove);
let made = 0;

/** A checkpoint and an empty cache of its own. */
function fresh(): { readonly dir: string; readonly cache: PackedCacheOptions } {
  made += 1;
  const dir = writeQuantizedQwen(join(temporary.path, `model-${made}`));
  return { dir, cache: { directory: join(temporary.path, `cache-${made}`), leastBytes: 0 } };
}

/** Generates with and saves to a cache. */
async function run(dir: string, cache?: PackedCacheOptions) {
  using device = openDevice({ threads: 2 });
  using model = openModel(dir, device, { packedCache: cache });
  const tokens: number[] = [];
  const sampling = parseSamplingOptions({ temperature: 0, repetitionPenalty: 1.2 });
  const request = { prompt: [1, 2, 3], sampling, maxNewTokens: 4, allowed: 128 };
  for await (const token of generate(model, request)) tokens.push(token);
  const saved = await model.packedCache?.save();
  return { tokens, saved, problem: model.packedCache?.problem };
}

test("the first run writes one file, the second computes the same from it and writes nothing", async () => {
  const { dir, cache } = fresh();
  const plain = await run(dir);
  const first = await run(dir, cache);
  const [file] = packedCacheFiles(cache.directory);
  expect(first.saved).toMatchObject({ file: file?.file, bytes: file?.bytes });
  expect(readdirSync(cache.directory)).toHaveLength(1);
  const second = await run(dir, cache);
  expect(second).toEqual({ tokens: plain.tokens, saved: undefined, problem: undefined });
  expect(first.tokens).toEqual(plain.tokens);
});

test("what is computed with comes from the file", async () => {
  const { dir, cache } = fresh();
  const { saved, tokens } = await run(dir, cache);
  const file = saved?.file ?? "";
  const bytes = readFileSync(file);
  bytes.fill(0xff, bytes.byteLength - 512);
  writeFileSync(file, bytes);
  await expect(run(dir, cache).then((outcome) => outcome.tokens)).rejects.toMatchObject({
    code: "GENERATION_NOT_FINITE",
  });
  expect(tokens).toHaveLength(4);
});

const damages: readonly (readonly [string, (file: string) => void])[] = [
  ["empty", (file) => truncateSync(file, 0)],
  ["cut in its header", (file) => truncateSync(file, 100)],
  ["cut in its tensors", (file) => truncateSync(file, readFileSync(file).byteLength - 1)],
  ["too long", (file) => appendFileSync(file, "x")],
  ["no safetensors file", (file) => writeFileSync(file, "x".repeat(1000))],
  [
    "of another shape",
    (file) => {
      const tensor = (part: string, dtype: string, size: number) => ({
        ...{ name: `transformer.h.0.attn.c_attn.${part}`, dtype, shape: [1, 1, 1] },
        bytes: new Uint8Array(size),
      });
      writeFileSync(file, safetensors([tensor("words", "I32", 4), tensor("scales", "F16", 2)]));
    },
  ],
];

test.each(damages)(
  "a file that is %s is refused, said to be, and written anew",
  async (_, damage) => {
    const { dir, cache } = fresh();
    const first = await run(dir, cache);
    damage(first.saved?.file ?? "");
    const second = await run(dir, cache);
    expect(second.problem).toEqual(expect.any(String));
    expect({ tokens: second.tokens, saved: second.saved }).toEqual({
      tokens: first.tokens,
      saved: first.saved,
    });
    expect(await run(dir, cache)).toMatchObject({ saved: undefined, problem: undefined });
  },
);

test("a checkpoint that changed or is read otherwise has another file", async () => {
  const { dir, cache } = fresh();
  const first = await run(dir, cache);
  writeQuantizedQwen(dir, { quantization: { ...quantizeConfig, damp_percent: 0.02 } });
  const second = await run(dir, cache);
  expect(second.saved?.file).not.toBe(first.saved?.file);
  expect(packedCacheFiles(cache.directory)).toHaveLength(2);
});

test("two models within a limit that holds one leave the later one", async () => {
  const { dir, cache } = fresh();
  const first = await run(dir, cache);
  const limited = { ...cache, limitBytes: 1.5 * (first.saved?.bytes ?? 0) };
  const second = await run(fresh().dir, limited);
  expect(packedCacheFiles(cache.directory).map(({ file }) => file)).toEqual([second.saved?.file]);
});

test("a model smaller than is worth keeping leaves no file", async () => {
  const { dir, cache } = fresh();
  expect(await run(dir, { directory: cache.directory })).toMatchObject({ saved: undefined });
  expect(packedCacheFiles(cache.directory)).toEqual([]);
});

test("a directory that cannot be made is an error of saving only", async () => {
  const { dir } = fresh();
  const directory = join(dir, "config.json", "cache");
  await expect(run(dir, { directory, leastBytes: 0 })).rejects.toMatchObject({
    name: "CheckpointError",
  });
});

// LoRA adapters merged as weights are read: the formula, PEFT's rules for names, and merging first or at once.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import { openAdapter } from "../../quantizer/index.ts";
import { openModel } from "../../runtime/index.ts";
import { fromBf16 } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { temporaryDirectory, tinyQwenTensors, writeTinyQwen } from "../support/tiny-checkpoint.ts";
import { expectClose } from "../support/tolerance.ts";
import { type AdapterTensors, type Config, pair, writeAdapter } from "./adapters.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const at = (name: string) => join(work.path, name);
let count = 0;
const fresh = () => at(`adapter-${count++}`);

const h0 = "transformer.h.0";
const h1 = "transformer.h.1";
const tiny = at("tiny");
const qkv = [192, 64] as const;
const both = { ...pair(`${h0}.attn.c_attn`, qkv), ...pair(`${h1}.attn.c_attn`, qkv) };
/** Half a unit in the last of bf16's 8 bits. */
const halfUnit = (value: number) => 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 8);

beforeAll(() => {
  writeTinyQwen(tiny);
  writeFileSync(join(tiny, "qwen.tiktoken"), "IQ== 0\n");
});

/** Tensors of the tiny model as read with an adapter, in f64 for the formula. */
async function merged(
  names: readonly string[],
  tensors: AdapterTensors,
  config: Config = {},
): Promise<readonly Float32Array[]> {
  using device = openDevice({ threads: 2 });
  using overlay = await openAdapter(writeAdapter(fresh(), tensors, config), tiny, device);
  using model = openModel(tiny, device, { overlay });
  const values: Float32Array[] = [];
  for (const name of names) {
    using tensor = model.tensor(name);
    expect(tensor.dtype).toBe("bf16");
    values.push(fromBf16((await tensor.read()) as Uint16Array));
  }
  return values;
}

function stored(name: string): Float32Array<ArrayBuffer> {
  const tensor = tinyQwenTensors().find((candidate) => candidate.name === name)!;
  return fromBf16(new Uint16Array(tensor.bytes.slice().buffer));
}

/** W + scale · B·A in f64. */
function formula(module: string, tensors: AdapterTensors, scale: number): Float64Array {
  const a = tensors[`base_model.model.${module}.lora_A.weight`]!;
  const b = tensors[`base_model.model.${module}.lora_B.weight`]!;
  const [rank = 0, width = 0] = a.shape;
  return Float64Array.from(stored(`${module}.weight`), (w, at) => {
    const [row, column] = [Math.floor(at / width), at % width];
    let sum = 0;
    for (let i = 0; i < rank; i++) sum += b.values[row * rank + i]! * a.values[i * width + column]!;
    return w + scale * sum;
  });
}

/** One rounding to bf16, and f32 arithmetic before it. */
function expectFormula(actual: Float32Array, expected: Float64Array): void {
  expectClose(actual, expected, (i) => halfUnit(expected[i]!) + 1e-6);
}

describe("a merged weight", () => {
  test("is W + alpha / r · B·A, rounded once to the stored dtype", async () => {
    const [weight] = await merged([`${h0}.attn.c_attn.weight`], both);
    expectFormula(weight!, formula(`${h0}.attn.c_attn`, both, 2));
    const unchanged = stored(`${h0}.attn.c_attn.weight`);
    expect(weight!.findIndex((value, i) => value !== unchanged[i])).toBeGreaterThanOrEqual(0);
  });

  test("is scaled by alpha / sqrt(r) with use_rslora", async () => {
    const [weight] = await merged([`${h1}.attn.c_attn.weight`], both, { use_rslora: true });
    expectFormula(weight!, formula(`${h1}.attn.c_attn`, both, 16 / Math.sqrt(8)));
  });

  test("leaves every other tensor as it is stored", async () => {
    const names = [`${h0}.attn.c_proj.weight`, `${h0}.attn.c_attn.bias`, "lm_head.weight"];
    const values = await merged(names, both);
    for (const [i, name] of names.entries()) expect(values[i]).toEqual(stored(name));
  });

  test("takes a BF16 adapter, keys with the adapter's name, and lm_head", async () => {
    const head = pair("lm_head", [128, 64], 3);
    const rounded = Object.fromEntries(
      Object.entries(head).map(([name, { shape, values }]) => {
        const [copy] = [Float32Array.from(values, (value) => Math.round(value * 256) / 256)];
        return [name, { shape, values: copy! as Float32Array<ArrayBuffer> }];
      }),
    );
    const named = Object.fromEntries(
      Object.entries(rounded).map(([name, tensor]) => [
        name.replace(/\.weight$/, ".default.weight"),
        { ...tensor, dtype: "BF16" as const },
      ]),
    );
    const config = { target_modules: ["lm_head"], r: 3, lora_alpha: 7 };
    const [weight] = await merged(["lm_head.weight"], named, config);
    expectFormula(weight!, formula("lm_head", rounded, 7 / 3));
  });
});

describe("patterns", () => {
  const tensors = {
    ...pair(`${h0}.attn.c_attn`, qkv, 4),
    ...pair(`${h1}.attn.c_attn`, qkv, 8),
    ...pair(`${h0}.mlp.w1`, [96, 64], 2),
    ...pair(`${h1}.mlp.w1`, [96, 64], 8),
  };
  const target_modules = ["c_attn", "w1"];

  test.each([
    { what: "full names", at: [`${h0}.attn.c_attn`, `${h0}.mlp.w1`, `${h1}.mlp.w1`] },
    { what: "ends of names", at: ["0.attn.c_attn", "h.0.mlp.w1", "1.mlp.w1"] },
    { what: "expressions", at: ["h\\.0\\..*c_attn", "[0]\\.mlp\\.w1", "(h.1.mlp.w1|h.7.mlp.w1)"] },
    { what: "anchored expressions", at: [`^${h0}.attn.c_attn`, `^${h0}.mlp.w\\d$`, ".*1.mlp.w1"] },
  ])("give rank and alpha by $what", async ({ at: [attn = "", first = "", second = ""] }) => {
    const config = {
      target_modules,
      rank_pattern: { [attn]: 4, [first]: 2 },
      alpha_pattern: { [first]: 3, [second]: 32 },
    };
    const modules = [`${h0}.attn.c_attn`, `${h1}.attn.c_attn`, `${h0}.mlp.w1`, `${h1}.mlp.w1`];
    const scales = [16 / 4, 16 / 8, 3 / 2, 32 / 8];
    const weights = await merged(
      modules.map((module) => `${module}.weight`),
      tensors,
      config,
    );
    for (const [i, module] of modules.entries()) {
      expectFormula(weights[i]!, formula(module, tensors, scales[i]!));
    }
  });

  test("count in their order, the first that matches", async () => {
    const rank_pattern = { "0.attn.c_attn": 4, "0.mlp.w1": 2, c_attn: 8 };
    const alpha_pattern = { "h.0.attn.c_attn": 5, c_attn: 6 };
    const names = [`${h0}.attn.c_attn.weight`, `${h1}.attn.c_attn.weight`];
    const config = { target_modules, rank_pattern, alpha_pattern };
    const [first, second] = await merged(names, tensors, config);
    expectFormula(first!, formula(`${h0}.attn.c_attn`, tensors, 5 / 4));
    expectFormula(second!, formula(`${h1}.attn.c_attn`, tensors, 6 / 8));
  });

  test("match whole parts of a name only", async () => {
    const adapting = merged([], both, { rank_pattern: { attn: 4, "ttn.c_attn": 4 } });
    await expect(adapting).resolves.toEqual([]);
  });
});

describe("tensors trained whole", () => {
  const values = normal(128 * 64, seeded(3), { scale: 0.1 });
  const table = { shape: [128, 64], values };

  test.each([
    "base_model.model.transformer.wte.weight",
    "base_model.model.transformer.wte.modules_to_save.default.weight",
  ])("replace the model's, as %s", async (key) => {
    const config = { modules_to_save: ["wte"] };
    const [weight] = await merged(["transformer.wte.weight"], { ...both, [key]: table }, config);
    expectClose(weight!, values, (i) => halfUnit(values[i]!));
  });

  test("replace biases with bias lora_only", async () => {
    const bias = normal(192, seeded(4));
    const tensors = {
      ...both,
      [`base_model.model.${h0}.attn.c_attn.bias`]: { shape: [192], values: bias },
      [`base_model.model.${h1}.attn.c_attn.base_layer.bias`]: { shape: [192], values: bias },
    };
    const names = [`${h0}.attn.c_attn.bias`, `${h1}.attn.c_attn.bias`];
    for (const found of await merged(names, tensors, { bias: "lora_only" })) {
      expectClose(found, bias, (i) => halfUnit(bias[i]!));
    }
  });
});

describe("a layer range", () => {
  test("is honoured", async () => {
    const only = pair(`${h1}.attn.c_attn`, qkv);
    const names = [`${h0}.attn.c_attn.weight`, `${h1}.attn.c_attn.weight`];
    const [first, second] = await merged(names, only, { layers_to_transform: [1] });
    expect(first).toEqual(stored(`${h0}.attn.c_attn.weight`));
    expectFormula(second!, formula(`${h1}.attn.c_attn`, only, 2));
  });

  test("refuses tensors outside it", async () => {
    await expect(merged([], both, { layers_to_transform: [1] })).rejects.toMatchObject({
      name: "QuantizeError",
      code: "QUANTIZE_ADAPTER",
      message: expect.stringContaining(`${h0}.attn.c_attn.lora_A`),
    });
  });
});

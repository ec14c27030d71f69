import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { checkLoaders, openCheckpoint, readTensorBytes } from "../../../runtime/index.ts";
import {
  int32,
  type QuantizedQwen,
  replaceTensor,
  writeQuantizedQwen,
} from "../../support/quantized-qwen.ts";
import { repositoryPath, sharedPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { torchFile } from "../../support/torch-file.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
let built = 0;
const build = (changes: QuantizedQwen = {}) =>
  writeQuantizedQwen(join(temporary.path, `${++built}`), changes);

/** The rules each loader finds broken, apart from advice. */
function broken(dir: string): Record<string, readonly string[]> {
  return Object.fromEntries(
    checkLoaders(dir).verdicts.map(({ loader, findings }) => [
      loader,
      findings.filter(({ kind }) => kind !== "advice").map(({ id }) => id),
    ]),
  );
}

const linear = "transformer.h.0.mlp.c_proj";
const none = { vllm: [], transformers: [], autogptq: [] };
const all = (id: string) => ({ vllm: [id], transformers: [id], autogptq: [id] });

test("a directory in the layout of AutoGPTQ is accepted by all", () => {
  expect(broken(build())).toEqual(none);
});

test("a PyTorch file is judged as such: AutoGPTQ looks for safetensors unless told otherwise", () => {
  const dir = build();
  const { tensors, weightFiles } = openCheckpoint(dir);
  const stored = [...tensors.values()].map((entry) => ({
    ...entry,
    bytes: readTensorBytes(entry),
  }));
  for (const file of weightFiles) rmSync(file);
  writeFileSync(join(dir, "pytorch_model.bin"), torchFile(stored));
  expect(broken(dir)).toEqual({ ...none, autogptq: ["file-names"] });
});

for (const name of ["qwen-mini-int4-autogptq", "qwen-mini-int8-autogptq"]) {
  const dir = sharedPath("models", name);
  test.skipIf(dir === undefined)(`${name}, written by AutoGPTQ, is accepted by all`, () => {
    expect(broken(dir ?? "")).toEqual(none);
  });
}

describe("a broken directory is refused with the rule named:", () => {
  test.each<[string, QuantizedQwen, Record<string, readonly string[]>]>([
    ["another architecture", { config: { model_type: "llama" } }, all("architecture")],
    [
      "a missing tensor of a linear",
      { tensors: replaceTensor(`${linear}.scales`, () => undefined) },
      all("tensors-complete"),
    ],
    [
      "a missing norm",
      { tensors: replaceTensor("transformer.ln_f.weight", () => undefined) },
      all("tensors-complete"),
    ],
    [
      "packed weights of a transposed shape",
      { tensors: replaceTensor(`${linear}.qweight`, () => ({ shape: [128, 16] })) },
      all("tensor-shapes"),
    ],
    [
      "a group index of 64 bits",
      {
        tensors: replaceTensor(`${linear}.g_idx`, () => ({
          dtype: "I64",
          bytes: new Uint8Array(128 * 8),
        })),
      },
      all("tensor-dtypes"),
    ],
    [
      "a permuted group index that desc_act does not announce",
      { tensors: replaceTensor(`${linear}.g_idx`, () => ({ bytes: groups((i) => i % 2) })) },
      all("group-index"),
    ],
    [
      "desc_act with groups of unequal size",
      {
        quantization: { desc_act: true },
        tensors: replaceTensor(`${linear}.g_idx`, () => ({ bytes: groups((i) => +(i > 9)) })),
      },
      all("group-index"),
    ],
    [
      "a group index out of range, with desc_act",
      {
        quantization: { desc_act: true },
        tensors: replaceTensor(`${linear}.g_idx`, () => ({ bytes: groups((i) => i >> 5) })),
      },
      all("group-index"),
    ],
    [
      "v1 zeros under the name of gptq_v2",
      { quantization: { checkpoint_format: "gptq_v2" } },
      {
        vllm: [],
        transformers: ["zeros-match-format"],
        autogptq: ["checkpoint-format", "zeros-match-format"],
      },
    ],
    [
      "one zero that is off by one",
      {
        tensors: replaceTensor(`${linear}.qzeros`, ({ bytes }) => ({
          bytes: bytes.with(5, 0x78),
        })),
      },
      { vllm: [], transformers: ["zeros-match-format"], autogptq: ["zeros-match-format"] },
    ],
    [
      "an extra bias that is not zero",
      { tensors: replaceTensor(`${linear}.bias`, ({ bytes }) => ({ bytes: bytes.with(1, 0x3c) })) },
      { vllm: ["extra-bias-zero"], transformers: ["extra-bias-zero"], autogptq: [] },
    ],
    [
      "metadata without a format",
      { metadata: { producer: "x" } },
      { vllm: [], transformers: ["format-metadata"], autogptq: ["format-metadata"] },
    ],
    [
      "config.json without quantization_config",
      { config: { quantization_config: undefined } },
      { vllm: ["quantization-fields"], transformers: ["quantization-fields"], autogptq: [] },
    ],
    [
      "a config without desc_act and sym",
      { quantization: { desc_act: undefined, sym: undefined } },
      { vllm: ["quantization-fields"], transformers: [], autogptq: [] },
    ],
    [
      "two configs that disagree",
      { config: { quantization_config: { ...embedded(), group_size: 32 } } },
      all("settings-agree"),
    ],
    ["another method", { quantization: { quant_method: "awq" } }, all("quant-method")],
    [
      "AutoGPTQ's own file name, which transformers does not try",
      { weightFile: "gptq_model-4bit-64g.safetensors" },
      { vllm: [], transformers: ["file-names"], autogptq: [] },
    ],
  ])("%s", (_name, changes, expected) => {
    expect(broken(build(changes))).toEqual(expected);
  });

  test("groups that do not divide the inputs", () => {
    expect(broken(build({ quantization: { group_size: 48 } }))).toMatchObject({
      autogptq: expect.arrayContaining(["divisible"]),
    });
  });

  test("a truncated weight file, and one that is missing", () => {
    const dir = build();
    writeFileSync(join(dir, "model.safetensors"), new Uint8Array(20));
    expect(broken(dir)).toEqual(all("readable"));
    rmSync(join(dir, "model.safetensors"));
    expect(broken(dir)).toEqual(all("readable"));
  });

  test("a config.json that is no JSON", () => {
    const dir = build();
    writeFileSync(join(dir, "config.json"), "{");
    expect(broken(dir)).toEqual(all("readable"));
  });

  test("weights that belong to no model beside the model's", () => {
    const dir = build();
    writeFileSync(join(dir, "adapter.safetensors"), "");
    expect(broken(dir)).toEqual({ ...none, vllm: ["stray-weights"] });
  });

  test("a linear left float without saying so, and half of a fused pair", () => {
    const dir = build({
      tensors: (tensors) => [
        ...tensors.filter(({ name }) => !name.startsWith("transformer.h.0.mlp.w1.")),
        floatWeight("transformer.h.0.mlp.w1.weight"),
      ],
    });
    expect(broken(dir)).toEqual({
      vllm: ["fused-scheme"],
      transformers: ["modules-declared"],
      autogptq: ["all-linears-packed"],
    });
  });
});

describe("what a loader does not support is a limit, not a defect:", () => {
  test.each<[string, QuantizedQwen, string, string]>([
    ["asymmetric", { quantization: { sym: false } }, "vllm", "symmetric"],
    ["asymmetric in v1", { quantization: { sym: false } }, "transformers", "asymmetric-v2"],
    [
      "gptq_v2",
      { quantization: { checkpoint_format: "gptq_v2" } },
      "autogptq",
      "checkpoint-format",
    ],
    ["groups of 16", { quantization: { group_size: 16 } }, "vllm", "group-size"],
    ["three bits", { quantization: { bits: 3 } }, "vllm", "bits"],
  ])("%s", (_name, changes, loader, id) => {
    const verdict = checkLoaders(build(changes)).verdicts.find((each) => each.loader === loader);
    expect(verdict?.outcome).toBe("refuses");
    expect(verdict?.findings).toContainEqual(expect.objectContaining({ id, kind: "limit" }));
  });
});

test("a violation names the tensor, and what was expected", () => {
  const dir = build({ tensors: replaceTensor(`${linear}.qweight`, () => ({ shape: [128, 16] })) });
  const [vllm] = checkLoaders(dir).verdicts;
  expect(vllm?.findings.find(({ id }) => id === "tensor-shapes")?.violations).toEqual([
    `${linear}.qweight is [128,16]; expected [16,128]`,
  ]);
});

test("tensor-parallel sizes keep heads and groups whole", () => {
  // 2 heads, 128 inputs in groups of 64: two halves are whole, four are not.
  const works = checkLoaders(build()).tensorParallel.map(({ problem }) => problem === undefined);
  expect(works).toEqual([true, true, false, false]);
  const wide = checkLoaders(build({ quantization: { group_size: 128 } })).tensorParallel;
  expect(wide.find(({ size }) => size === 2)?.problem).toContain("128");
});

test("a model that is not quantized is refused, and a directory that is not there", () => {
  const refused = (code: string) => expect.objectContaining({ name: "CheckpointError", code });
  const check = (dir: string) => () => checkLoaders(dir);
  expect(check(repositoryPath("examples", "qwen-mini"))).toThrow(refused("CHECKPOINT_UNSUPPORTED"));
  expect(check(join(temporary.path, "nowhere"))).toThrow(refused("CHECKPOINT_NOT_FOUND"));
});

function groups(group: (input: number) => number): Uint8Array {
  return int32(Array.from({ length: 128 }, (_, input) => group(input)));
}

function embedded() {
  return { bits: 4, group_size: 64, desc_act: false, sym: true, quant_method: "gptq" };
}

function floatWeight(name: string) {
  return { name, dtype: "F16", shape: [128, 128], bytes: new Uint8Array(2 * 128 * 128) };
}

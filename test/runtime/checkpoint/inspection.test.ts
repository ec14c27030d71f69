import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { inspectCheckpoint } from "../../../runtime/index.ts";
import { replaceTensor, writeQuantizedQwen } from "../../support/quantized-qwen.ts";
import { repositoryPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const path = (name: string) => join(temporary.path, name);
const lists = { missing: [], unexpected: [], misshapen: [] };

describe("inspecting", () => {
  test("a float model gives its extents, parameters and bytes, and nothing is missing", () => {
    const inspection = inspectCheckpoint(repositoryPath("examples", "qwen-mini"));
    expect(inspection).toMatchObject({
      parameters: 8_923_392,
      shape: { layers: 8, hiddenSize: 256, ffnSize: 768, vocabSize: 4096, seqLength: 512 },
      dtypes: [{ dtype: "BF16", tensors: 67, bytes: 2 * 8_923_392 }],
      quantization: undefined,
      hasTokenizer: true,
      ...lists,
    });
  });

  test("a quantized model counts codes, scales and zeros as bits per weight", () => {
    const { quantization, ...rest } = inspectCheckpoint(writeQuantizedQwen(path("good")));
    expect(quantization).toMatchObject({ bits: 4, groupSize: 64, linears: 5 });
    expect(quantization?.bitsPerWeight).toBeCloseTo(4 + (16 + 4) / 64, 6);
    expect(rest).toMatchObject(lists);
  });

  test("names tensors that are missing, unexpected or of another shape", () => {
    const linear = "transformer.h.0.mlp.w1";
    const dir = writeQuantizedQwen(path("broken"), {
      tensors: (tensors) => [
        ...replaceTensor(
          `${linear}.scales`,
          () => undefined,
        )([...replaceTensor("lm_head.weight", () => ({ shape: [64, 256] }))(tensors)]),
        { name: "extra", dtype: "F16", shape: [1], bytes: new Uint8Array(2) },
      ],
    });
    expect(inspectCheckpoint(dir)).toMatchObject({
      missing: [`${linear}.scales`],
      unexpected: ["extra"],
      misshapen: ["lm_head.weight is [64,256], expected [128,128]"],
    });
  });

  test("the group index and the biases no model needs may be left out", () => {
    const dir = writeQuantizedQwen(path("lean"), {
      tensors: (tensors) =>
        tensors.filter(({ name }) => !/g_idx$|(w1|w2|c_proj)\.bias$/.test(name)),
    });
    expect(inspectCheckpoint(dir)).toMatchObject(lists);
  });

  test("a missing tokenizer is noticed", () => {
    const dir = writeQuantizedQwen(path("no-tokenizer"));
    rmSync(join(dir, "qwen.tiktoken"));
    expect(inspectCheckpoint(dir).hasTokenizer).toBe(false);
  });
});

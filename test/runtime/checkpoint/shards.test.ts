import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openCheckpoint, requireTensor } from "../../../runtime/checkpoint/index.ts";
import { repositoryPath, sharedPath } from "../../support/shared.ts";
import { safetensors, temporaryDirectory, writeTinyQwen } from "../../support/tiny-checkpoint.ts";
import { torchFile } from "../../support/torch-file.ts";
import { hostileIndexes } from "./hostile/indexes.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

/** A model directory with the given files; a tensor name stands for a weight file that holds that one tensor. */
function modelDirectory(
  name: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): string {
  const dir = join(directory.path, name);
  mkdirSync(dir);
  writeFileSync(join(dir, "config.json"), "{}");
  for (const [file, contents] of Object.entries(files)) writeFileSync(join(dir, file), contents);
  return dir;
}

function holding(name: string, metadata?: Readonly<Record<string, string>>): Uint8Array {
  return safetensors([{ name, dtype: "U8", shape: [2], bytes: new Uint8Array(2) }], metadata);
}

function pickled(name: string): Uint8Array {
  return torchFile([{ name, dtype: "U8", shape: [2], bytes: new Uint8Array(2) }]);
}

describe("openCheckpoint", () => {
  it("prefers weights in the documented order", () => {
    const index = (file: string) => JSON.stringify({ weight_map: { [file]: file } });
    const weights: Record<string, string | Uint8Array> = {
      "gptq.safetensors": holding("legacy"),
      "gptq_model-4bit-128g.safetensors": holding("autogptq"),
      "gptq_model-4bit-128g.safetensors.index.json": index("shard-a.safetensors"),
      "model.safetensors": holding("single"),
      "model.safetensors.index.json": index("shard-b.safetensors"),
    };
    const shards = {
      "shard-a.safetensors": holding("shard-a.safetensors"),
      "shard-b.safetensors": holding("shard-b.safetensors"),
    };
    const expected = ["legacy", "autogptq", "shard-a.safetensors", "single", "shard-b.safetensors"];
    for (const [count, tensor] of expected.entries()) {
      const files = Object.fromEntries(Object.entries(weights).slice(0, count + 1));
      const dir = modelDirectory(`order-${count}`, { ...files, ...shards });
      expect([...openCheckpoint(dir).tensors.keys()]).toEqual([tensor]);
    }
  });

  it("takes a tensor that two shards hold from the shard the index names", () => {
    const dir = modelDirectory("twice", {
      "x.safetensors": holding("a", { format: "pt", from: "x" }),
      "y.safetensors": safetensors(
        ["a", "b"].map((name) => ({ name, dtype: "U8", shape: [1], bytes: new Uint8Array(1) })),
        { from: "y", only: "y" },
      ),
      "model.safetensors.index.json": JSON.stringify({
        weight_map: { b: "y.safetensors", a: "x.safetensors" },
      }),
    });
    const checkpoint = openCheckpoint(dir);
    expect(checkpoint.tensors.get("a")).toMatchObject({
      file: join(dir, "x.safetensors"),
      shape: [2],
    });
    expect(checkpoint.weightFiles).toEqual([
      join(dir, "x.safetensors"),
      join(dir, "y.safetensors"),
    ]);
    expect(Object.fromEntries(checkpoint.metadata)).toEqual({ format: "pt", from: "x", only: "y" });
  });

  it.each(hostileIndexes)("refuses an index that $title", ({ title, json, code }) => {
    const dir = modelDirectory(`index-${hostileIndexes.findIndex((one) => one.title === title)}`, {
      "model-00001-of-00001.safetensors": holding("a"),
      "model.safetensors.index.json": json,
    });
    writeFileSync(join(directory.path, "outside.safetensors"), holding("a"));
    const error = refusal(() => openCheckpoint(dir));
    expect(error.code).toBe(code);
    expect(error.message).toContain("model.safetensors.index.json");
  });

  it.each(hostileIndexes)("refuses a PyTorch index that $title", ({ title, json, code }) => {
    const dir = modelDirectory(`torch-${hostileIndexes.findIndex((one) => one.title === title)}`, {
      "model-00001-of-00001.bin": pickled("a"),
      "pytorch_model.bin.index.json": json.replaceAll(".safetensors", ".bin"),
    });
    writeFileSync(join(directory.path, "outside.bin"), pickled("a"));
    const error = refusal(() => openCheckpoint(dir));
    expect(error.code).toBe(code);
    expect(error.message).toContain("pytorch_model.bin.index.json");
  });

  it("opens PyTorch files where there are no safetensors, by their index before the single file", () => {
    const weights = {
      "pytorch_model.bin": pickled("single"),
      "pytorch_model.bin.index.json": JSON.stringify({ weight_map: { sharded: "a.bin" } }),
      "a.bin": pickled("sharded"),
      "model.safetensors": holding("safe"),
      "training_args.bin": "not weights",
    };
    for (const [count, tensor] of [
      [1, "single"],
      [3, "sharded"],
      [5, "safe"],
    ] as const) {
      const files = Object.fromEntries(Object.entries(weights).slice(0, count));
      const checkpoint = openCheckpoint(modelDirectory(`torch-order-${count}`, files));
      expect([...checkpoint.tensors.keys()]).toEqual([tensor]);
      expect(checkpoint.metadata.size).toBe(tensor === "safe" ? 1 : 0);
    }
  });

  it("takes no safetensors shard from a PyTorch index, nor the other way round", () => {
    const index = (file: string) => JSON.stringify({ weight_map: { a: file } });
    const dir = modelDirectory("mixed", {
      "a.safetensors": holding("a"),
      "a.bin": pickled("a"),
      "pytorch_model.bin.index.json": index("a.safetensors"),
    });
    expect(refusal(() => openCheckpoint(dir)).code).toBe("CHECKPOINT_HEADER");
    writeFileSync(join(dir, "model.safetensors.index.json"), index("a.bin"));
    expect(refusal(() => openCheckpoint(dir)).code).toBe("CHECKPOINT_HEADER");
  });

  it.each([
    { title: "no weights", files: {}, code: "CHECKPOINT_NOT_FOUND", names: "model.safetensors" },
    {
      title: "only a pickle that is not one",
      files: { "pytorch_model.bin": "x" },
      code: "CHECKPOINT_TRUNCATED",
      names: "pytorch_model.bin",
    },
    {
      title: "sharded pickles without an index",
      files: { "pytorch_model-00001-of-00008.bin": "x" },
      code: "CHECKPOINT_NOT_FOUND",
      names: "pytorch_model.bin.index.json",
    },
    {
      title: "a pickle under a name of its own",
      files: { "training_args.bin": "x", "gptq_model-4bit-128g.pt": "x" },
      code: "CHECKPOINT_UNSUPPORTED",
      names: "gptq_model-4bit-128g.pt",
    },
    {
      title: "shards without an index",
      files: { "model-00001-of-00002.safetensors": "x" },
      code: "CHECKPOINT_NOT_FOUND",
      names: "model.safetensors.index.json",
    },
    {
      title: "an interrupted run",
      files: { ".model.safetensors.partial": "x" },
      code: "CHECKPOINT_NOT_FOUND",
      names: "interrupted",
    },
    {
      title: "two AutoGPTQ files",
      files: { "gptq_model-4bit-128g.safetensors": "x", "gptq_model-8bit-128g.safetensors": "x" },
      code: "CHECKPOINT_UNSUPPORTED",
      names: "gptq_model-8bit-128g.safetensors",
    },
    {
      title: "a config.json that is not JSON",
      files: { "config.json": "{,}", "model.safetensors": holding("a") },
      code: "CHECKPOINT_CONFIG",
      names: "config.json",
    },
    {
      title: "a config.json with one key twice",
      files: { "config.json": '{"n": {"fp16":true, "fp16" :false}}' },
      code: "CHECKPOINT_CONFIG",
      names: "fp16",
    },
    {
      title: "an index that is a Git LFS pointer",
      files: { "model.safetensors.index.json": "version https://git-lfs.github.com/spec/v1\noid" },
      code: "CHECKPOINT_LFS_POINTER",
      names: "model.safetensors.index.json",
    },
  ])("says what is wrong with a directory that holds $title", ({ title, files, code, names }) => {
    const dir = modelDirectory(`wrong ${title}`, files);
    const error = refusal(() => openCheckpoint(dir));
    expect(error).toMatchObject({ name: "CheckpointError", code });
    expect(error.message).toContain(names);
  });

  it("says so when the directory or its config.json is missing, or it is a file", () => {
    const dir = join(directory.path, "bare");
    expect(refusal(() => openCheckpoint(dir)).code).toBe("CHECKPOINT_NOT_FOUND");
    mkdirSync(dir);
    expect(refusal(() => openCheckpoint(dir)).message).toContain("config.json");
    writeFileSync(join(dir, "file"), "");
    const error = refusal(() => openCheckpoint(join(dir, "file")));
    expect(error.code).toBe("CHECKPOINT_NOT_FOUND");
    expect(error.message).toContain("not a directory");
  });

  it("opens the bundled model from its two shards", () => {
    const checkpoint = openCheckpoint(repositoryPath("examples/qwen-mini"));
    expect(checkpoint.tensors.size).toBe(67);
    expect(checkpoint.weightFiles).toHaveLength(2);
    expect(checkpoint.config["hidden_size"]).toBe(256);
  });

  const int4 = sharedPath("models", "qwen-mini-int4-autogptq");
  it.skipIf(int4 === undefined)("opens a checkpoint that AutoGPTQ wrote", () => {
    const checkpoint = openCheckpoint(int4!);
    expect(checkpoint.tensors.size).toBe(8 * 27 + 3);
    const name = "transformer.h.3.attn.c_attn.qweight";
    expect(requireTensor(checkpoint, name, { dtypes: ["I32"], shape: [32, 768] }).name).toBe(name);
  });
});

describe("requireTensor", () => {
  const dir = join(directory.path, "tiny");
  writeTinyQwen(dir);
  const checkpoint = openCheckpoint(dir);
  const name = "transformer.h.1.mlp.w1.weight";

  it("returns a tensor of the expected dtype and shape", () => {
    const entry = requireTensor(checkpoint, name, { dtypes: ["F16", "BF16"], shape: [96, 64] });
    expect(entry.end - entry.begin).toBe(96 * 64 * 2);
  });

  it.each([
    { title: "is missing", tensor: "transformer.h.2.mlp.w1.weight", expectation: {} },
    { title: "is of another dtype", tensor: name, expectation: { dtypes: ["I32"] as const } },
    { title: "is transposed", tensor: name, expectation: { shape: [64, 96] } },
    { title: "has fewer dimensions", tensor: name, expectation: { shape: [96] } },
    { title: "has more dimensions", tensor: name, expectation: { shape: [96, 64, 1] } },
  ])("refuses a tensor that $title", ({ tensor, expectation }) => {
    const error = refusal(() => requireTensor(checkpoint, tensor, expectation));
    expect(error.code).toBe("CHECKPOINT_TENSOR");
    expect(error.message).toContain(tensor);
  });
});

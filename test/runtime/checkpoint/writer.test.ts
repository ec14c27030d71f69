import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import {
  createCheckpointWriter,
  openCheckpoint,
  planShards,
  readTensorBytes,
  type TensorSpec,
  totalTensorBytes,
  writeFileAtomic,
} from "../../../runtime/checkpoint/index.ts";
import { temporaryDirectory, tinyQwenTensors } from "../../support/tiny-checkpoint.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

let dir = "";
let made = 0;
beforeEach(() => {
  made += 1;
  dir = join(directory.path, `out-${made}`);
});

function u8(name: string, bytes: number): TensorSpec {
  return { name, dtype: "U8", shape: [bytes] };
}

const none: ReadonlyMap<string, string> = new Map();

describe("planShards", () => {
  it("keeps the order and fills each shard up to the limit, inclusive", () => {
    const plan = planShards([u8("a", 4), u8("b", 6), u8("c", 1), u8("d", 20), u8("e", 10)], 10);
    expect(plan.map(({ file, entries }) => [file, entries.map(({ name }) => name)])).toEqual([
      ["model-00001-of-00004.safetensors", ["a", "b"]],
      ["model-00002-of-00004.safetensors", ["c"]],
      ["model-00003-of-00004.safetensors", ["d"]],
      ["model-00004-of-00004.safetensors", ["e"]],
    ]);
    expect(plan.map((shard) => shard.tensorBytes)).toEqual([10, 1, 20, 10]);
    expect(totalTensorBytes(plan)).toBe(41);
  });

  it("calls a single shard model.safetensors", () => {
    expect(planShards([u8("a", 10)], 10).map(({ file }) => file)).toEqual(["model.safetensors"]);
  });

  it.each([
    { title: "no tensors", entries: [], limit: 10 },
    { title: "a name twice", entries: [u8("a", 6), u8("a", 6)], limit: 10 },
    { title: "a limit of zero", entries: [u8("a", 1)], limit: 0 },
    { title: "a limit that is not a number", entries: [u8("a", 1)], limit: Number.NaN },
    { title: "a negative size", entries: [u8("a", -1)], limit: 10 },
  ])("refuses $title", ({ entries, limit }) => {
    expect(refusal(() => planShards(entries, limit)).code).toBe("CHECKPOINT_WRITE");
  });
});

describe("createCheckpointWriter", () => {
  it("writes in any order what openCheckpoint reads back, whatever the shard size", () => {
    const tensors = tinyQwenTensors();
    for (const [limit, shards] of [
      [20_000, 12],
      [1e9, 1],
    ] as const) {
      const out = join(dir, String(limit));
      const entries = tensors.map(({ name, shape }) => ({ name, shape, dtype: "BF16" as const }));
      const plan = planShards(entries, limit);
      const writer = createCheckpointWriter(out, plan, new Map([["by", "test"]]));
      for (const { name, bytes } of [...tensors].reverse()) writer.write(name, bytes);
      writer.finish();
      writeFileSync(join(out, "config.json"), "{}");
      const checkpoint = openCheckpoint(out);
      expect(checkpoint.weightFiles).toHaveLength(shards);
      expect([...checkpoint.tensors.keys()]).toEqual(tensors.map(({ name }) => name));
      for (const { name, bytes } of tensors) {
        expect(Buffer.from(readTensorBytes(checkpoint.tensors.get(name)!)).equals(bytes)).toBe(
          true,
        );
      }
      expect(Object.fromEntries(checkpoint.metadata)).toEqual({ by: "test", format: "pt" });
    }
  });

  it("always writes an index with total size and weight map", () => {
    const writer = createCheckpointWriter(dir, planShards([u8("a", 3), u8("b", 2)], 100), none);
    writer.write("a", Uint8Array.of(1, 2, 3));
    writer.write("b", Uint8Array.of(4, 5));
    writer.finish();
    expect(readdirSync(dir).sort()).toEqual(["model.safetensors", "model.safetensors.index.json"]);
    const index = readFileSync(join(dir, "model.safetensors.index.json"), "utf8");
    expect(JSON.parse(index)).toEqual({
      metadata: { total_size: 5 },
      weight_map: { a: "model.safetensors", b: "model.safetensors" },
    });
  });

  it("always says format pt, even against the caller", () => {
    const writer = createCheckpointWriter(
      dir,
      planShards([u8("a", 0)], 1),
      new Map([["format", "np"]]),
    );
    writer.write("a", new Uint8Array());
    writer.finish();
    writeFileSync(join(dir, "config.json"), "{}");
    expect(openCheckpoint(dir).metadata.get("format")).toBe("pt");
  });

  it("shows nothing under a final name before finish, and leaves nothing when disposed", () => {
    const writer = createCheckpointWriter(dir, planShards([u8("a", 6), u8("b", 6)], 6), none);
    writer.write("a", new Uint8Array(6));
    expect(readdirSync(dir).sort()).toEqual([
      ".model-00001-of-00002.safetensors.partial",
      ".model-00002-of-00002.safetensors.partial",
    ]);
    writer[Symbol.dispose]();
    expect(readdirSync(dir)).toEqual([]);
    expect(refusal(() => writer.write("b", new Uint8Array(6))).code).toBe("CHECKPOINT_WRITE");
    expect(refusal(() => writer.finish()).code).toBe("CHECKPOINT_WRITE");
  });

  it("removes its files when disposed asynchronously", async () => {
    const writer = createCheckpointWriter(dir, planShards([u8("a", 6)], 6), none);
    await writer[Symbol.asyncDispose]();
    expect(readdirSync(dir)).toEqual([]);
  });

  it("keeps the finished files when disposed after finish", () => {
    const writer = createCheckpointWriter(dir, planShards([u8("a", 1)], 6), none);
    writer.write("a", new Uint8Array(1));
    writer.finish();
    writer[Symbol.dispose]();
    expect(existsSync(join(dir, "model.safetensors"))).toBe(true);
    expect(refusal(() => writer.finish()).code).toBe("CHECKPOINT_WRITE");
  });

  it("refuses an unknown name, a wrong byte count and a second write, and names the tensor", () => {
    const writer = createCheckpointWriter(dir, planShards([u8("a", 2), u8("b", 2)], 9), none);
    for (const size of [1, 3]) {
      const error = refusal(() => writer.write("a", new Uint8Array(size)));
      expect(error.code).toBe("CHECKPOINT_WRITE");
      expect(error.message).toContain(`"a" needs 2 bytes, got ${size}`);
    }
    expect(refusal(() => writer.write("c", new Uint8Array(2))).message).toContain('"c"');
    writer.write("a", Uint8Array.of(1, 2));
    expect(refusal(() => writer.write("a", Uint8Array.of(3, 4))).code).toBe("CHECKPOINT_WRITE");
    writer.write("b", Uint8Array.of(5, 6));
    writer.finish();
    expect([...readFileSync(join(dir, "model.safetensors")).subarray(-4)]).toEqual([1, 2, 5, 6]);
  });

  it("does not finish while a tensor is missing, and can go on", () => {
    const writer = createCheckpointWriter(dir, planShards([u8("a", 2), u8("b", 2)], 9), none);
    writer.write("a", new Uint8Array(2));
    expect(writer.missing).toEqual(["b"]);
    expect(refusal(() => writer.finish()).message).toContain('"b"');
    expect(existsSync(join(dir, "model.safetensors"))).toBe(false);
    writer.write("b", new Uint8Array(2));
    writer.finish();
    expect(existsSync(join(dir, "model.safetensors"))).toBe(true);
  });

  it("takes back the names it gave when one cannot be given, and can finish later", () => {
    const writer = createCheckpointWriter(dir, planShards([u8("a", 6), u8("b", 6)], 6), none);
    for (const name of ["a", "b"]) writer.write(name, new Uint8Array(6));
    const obstacle = join(dir, "model-00002-of-00002.safetensors");
    mkdirSync(obstacle);
    expect(refusal(() => writer.finish()).code).toBe("CHECKPOINT_WRITE");
    expect(readdirSync(dir).sort()).toEqual([
      ".model-00001-of-00002.safetensors.partial",
      ".model-00002-of-00002.safetensors.partial",
      "model-00002-of-00002.safetensors",
    ]);
    rmdirSync(obstacle);
    writer.finish();
    writeFileSync(join(dir, "config.json"), "{}");
    expect(openCheckpoint(dir).tensors.size).toBe(2);
  });

  it("replaces what an interrupted run and an earlier checkpoint left", () => {
    mkdirSync(dir);
    writeFileSync(join(dir, ".model.safetensors.partial"), "x".repeat(1_000));
    writeFileSync(
      join(dir, "model.safetensors.index.json"),
      '{"weight_map":{"old":"old.safetensors"}}',
    );
    const writer = createCheckpointWriter(dir, planShards([u8("a", 1)], 6), none);
    writer.write("a", Uint8Array.of(9));
    writer.finish();
    writeFileSync(join(dir, "config.json"), "{}");
    expect([...openCheckpoint(dir).tensors.keys()]).toEqual(["a"]);
  });

  it("refuses at once a plan that the disk cannot hold", () => {
    const error = refusal(() =>
      createCheckpointWriter(dir, planShards([u8("a", 2 ** 52)], 1), none),
    );
    expect(error.code).toBe("CHECKPOINT_WRITE");
    expect(error.message).toContain(String(2 ** 52).slice(0, 10));
    expect(readdirSync(dir)).toEqual([]);
  });

  it("says so when the output directory is a file", () => {
    writeFileSync(dir, "");
    const error = refusal(() => createCheckpointWriter(dir, planShards([u8("a", 1)], 1), none));
    expect(error.code).toBe("CHECKPOINT_WRITE");
    expect(error.message).toContain(dir);
  });
});

describe("writeFileAtomic", () => {
  it("replaces a file and leaves no other", () => {
    mkdirSync(dir);
    const path = join(dir, "x.json");
    writeFileAtomic(path, "one and a half");
    writeFileAtomic(path, "zwei ä");
    expect(readFileSync(path, "utf8")).toBe("zwei ä");
    expect(readdirSync(dir)).toEqual(["x.json"]);
  });

  it("refuses a directory that does not exist, and leaves no temporary file when the target is a directory", () => {
    expect(refusal(() => writeFileAtomic(join(dir, "x"), "")).code).toBe("CHECKPOINT_WRITE");
    mkdirSync(join(dir, "target"), { recursive: true });
    expect(refusal(() => writeFileAtomic(join(dir, "target"), "")).code).toBe("CHECKPOINT_WRITE");
    expect(readdirSync(dir)).toEqual(["target"]);
  });
});

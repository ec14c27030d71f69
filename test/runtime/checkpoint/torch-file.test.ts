import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readTensorBytes, readTorchFile } from "../../../runtime/checkpoint/index.ts";
import { repositoryPath } from "../../support/shared.ts";
import { type TinyTensor, temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import {
  code,
  dict,
  emptyOrderedDict,
  int,
  pickle,
  storage,
  tensor,
  text,
  torchFile,
  torchFileOf,
  u16,
  u64,
  zip,
} from "../../support/torch-file.ts";
import { type HostileTorchFile, hostilePickles } from "./hostile/pickles.ts";
import { hostileZips } from "./hostile/zips.ts";
import { refusal } from "./refusal.ts";

const directory = temporaryDirectory();
afterAll(directory.remove);

function written(bytes: Uint8Array, name = "pytorch_model.bin"): string {
  const path = join(directory.path, name);
  writeFileSync(path, bytes);
  return path;
}

const golden = (name: string) => repositoryPath(`test/runtime/checkpoint/golden/${name}`);
type Described = {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly hex: string;
};
const expected = JSON.parse(readFileSync(golden("expected.json"), "utf8")) as Record<
  "state" | "module",
  Record<string, Described>
>;

function contents(path: string): Record<string, Described> {
  const { tensors } = readTorchFile(path);
  return Object.fromEntries(
    [...tensors.values()].map((entry) => {
      const hex = Buffer.from(readTensorBytes(entry)).toString("hex");
      return [entry.name, { dtype: entry.dtype, shape: entry.shape, hex }];
    }),
  );
}

describe("readTorchFile", () => {
  it.each(["ordered.bin", "plain.bin", "protocol4.bin"])(
    "finds in %s, which PyTorch wrote, the bytes that were saved",
    (name) => expect(contents(golden(name))).toEqual(expected.state),
  );

  it("finds the parameters of a module, whose dict carries metadata", () => {
    expect(contents(golden("module.bin"))).toEqual(expected.module);
  });

  it("gives tied tensors one range, and a view its part of it", () => {
    const { tensors } = readTorchFile(golden("ordered.bin"));
    const [whole, tied, rows] = ["f32", "tied", "rows"].map((name) => tensors.get(name));
    expect(tied).toMatchObject({ begin: whole!.begin, end: whole!.end });
    expect(rows).toMatchObject({ begin: whole!.begin + 6 * 4, end: whole!.begin + 18 * 4 });
  });

  it.each([
    ["legacy.bin", "before 1.6"],
    ["transposed.bin", '"a" is a transposed or sliced view'],
    ["columns.bin", ".contiguous()"],
    ["object.bin", "torch.nn.modules.container.Sequential"],
    ["nested.bin", '"state_dict" is a dict'],
    ["double.bin", "F64"],
    ["script.bin", "TorchScript"],
  ])("refuses %s, which PyTorch wrote, with the reason", (name, reason) => {
    const error = refusal(() => readTorchFile(golden(name)));
    expect(error).toMatchObject({ name: "CheckpointError", code: "CHECKPOINT_UNSUPPORTED" });
    expect(error.message).toContain(name);
    expect(error.message).toContain(reason);
  });

  it("keeps names, types and order of what the builder of these tests wrote, aligned or not", () => {
    const tensors: readonly TinyTensor[] = ["BF16", "F16", "F32", "I32", "I64", "U8"].map(
      (dtype, i) => {
        const size = [2, 2, 4, 4, 8, 1][i] ?? 0;
        const bytes = Uint8Array.from({ length: 6 * size }, (_, at) => 17 * i + at);
        return { name: `层.${dtype}`, dtype, shape: [3, 2], bytes };
      },
    );
    for (const align of [64, 1]) {
      const read = contents(written(torchFile(tensors, align)));
      expect(Object.entries(read)).toEqual(
        tensors.map(({ name, bytes, ...rest }) => [
          name,
          { ...rest, hex: Buffer.from(bytes).toString("hex") },
        ]),
      );
    }
  });

  it("takes a name that is special in JavaScript for a name", () => {
    const names = ["__proto__", "constructor", "toString"];
    const path = written(torchFileOf(pickle(dict(names.map((name) => [name, tensor()])))));
    expect([...readTorchFile(path).tensors.keys()]).toEqual(names);
  });

  it("takes sizes and places from zip64 fields where the short ones are all ones", () => {
    const ones = 0xffff_ffff;
    const extra = code(u16(1), u16(24), u64(24), u64(24), u64(0));
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => i);
    const path = written(
      zip([
        {
          ...{ name: "archive/data/0", bytes, local: { size: ones } },
          row: { size: ones, stored: ones, header: ones, extra },
        },
        { name: "archive/data.pkl", bytes: pickle(dict([["a", tensor()]])) },
      ]),
    );
    expect(contents(path)["a"]?.hex).toBe(Buffer.from(bytes).toString("hex"));
  });

  it("ignores strides of dimensions of one element, and of tensors without any", () => {
    const path = written(
      torchFileOf(
        pickle(
          dict([
            ["one", tensor({ shape: [1, 6], strides: [999, 1] })],
            ["none", tensor({ shape: [0, 6], strides: [7, 7] })],
          ]),
        ),
      ),
    );
    expect([...readTorchFile(path).tensors.keys()]).toEqual(["one", "none"]);
  });

  it("reads a value that refers to itself without following it", () => {
    const list = code("]q", 0, "h", 0, "a");
    const path = written(torchFileOf(pickle(dict([["loop", list]]))));
    expect(refusal(() => readTorchFile(path)).message).toContain('"loop" is a list');
  });

  it.each([...hostilePickles, ...hostileZips])("refuses a file that $title", (file) => {
    expectRefusal(file);
  });

  it("says at every length of a cut file that it is cut", () => {
    const whole = torchFile([{ name: "a", dtype: "F32", shape: [2], bytes: new Uint8Array(8) }], 1);
    for (let length = 0; length < whole.byteLength; length++) {
      const error = refusal(() => readTorchFile(written(whole.subarray(0, length), "cut.bin")));
      expect(error.code, `${length} bytes`).toBe("CHECKPOINT_TRUNCATED");
    }
  });

  it("says at every length of a cut pickle that it is cut", () => {
    const whole = pickle(
      dict([
        ["a", code(emptyOrderedDict, "}b")],
        ["b", tensor()],
      ]),
      4,
    );
    for (let length = 0; length < whole.byteLength; length++) {
      const path = written(torchFileOf(whole.subarray(0, length)), "cut.bin");
      expect(refusal(() => readTorchFile(path)).code, `${length} bytes`).toBe(
        "CHECKPOINT_TRUNCATED",
      );
    }
  });

  it("refuses every opcode that it does not know, and no argument makes a difference", () => {
    const known = "\x80\x95(N\x88\x89JKM\x8aG\x8cX\x8d)\x85\x86\x87t]ae}suqr\x94hjc\x93QRb.";
    for (let opcode = 0; opcode < 256; opcode++) {
      if (known.includes(String.fromCharCode(opcode))) continue;
      const body = code(text("os"), text("system"), "(", opcode, "\x01\x00\x00\x00os\nsystem\n");
      const path = written(torchFileOf(pickle(body)));
      expect(refusal(() => readTorchFile(path)).code, `${opcode}`).toBe("CHECKPOINT_UNSUPPORTED");
    }
  });

  it("accepts the numbers beyond 2^31 that large storages have", () => {
    const count = 2 ** 31 + 6;
    const big = storage({ type: "ByteStorage", count });
    const path = written(
      torchFileOf(pickle(dict([["a", tensor({ storage: big, offset: int(2 ** 31) })]]))),
    );
    const error = refusal(() => readTorchFile(path));
    expect(error.code).toBe("CHECKPOINT_HEADER");
    expect(error.message).toContain(`${count} U8`);
  });
});

function expectRefusal({ bytes, code: expectedCode, names }: HostileTorchFile): void {
  const path = written(bytes(), "hostile.bin");
  const start = process.cpuUsage();
  const error = refusal(() => readTorchFile(path));
  const { user, system } = process.cpuUsage(start);
  expect(user + system).toBeLessThan(1_000_000); // µs
  expect(error).toMatchObject({ name: "CheckpointError", code: expectedCode });
  expect(error.message).toContain(path);
  expect(error.message).not.toContain("\n");
  expect(error.message.length).toBeLessThan(1000);
  if (names !== undefined) expect(error.message).toContain(names);
}

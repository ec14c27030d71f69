// Files of torch.save whose pickle must be refused, each with the code it must be refused with.

import type { CheckpointErrorCode } from "../../../../runtime/checkpoint/errors.ts";
import {
  type Code,
  code,
  dict,
  emptyOrderedDict,
  global,
  int,
  pickle,
  storage,
  type TensorFields,
  tensor,
  text,
  torchFileOf,
  tuple,
  u32,
  u64,
} from "../../../support/torch-file.ts";

export type HostileTorchFile = {
  readonly title: string;
  readonly bytes: () => Uint8Array;
  readonly code: CheckpointErrorCode;
  /** What the message must name besides the file. */
  readonly names?: string;
};

type Outcome = CheckpointErrorCode | readonly [CheckpointErrorCode, string];

function refused(title: string, body: () => Code, outcome: Outcome): HostileTorchFile {
  const [errorCode, names] = typeof outcome === "string" ? [outcome, ""] : outcome;
  return { title, bytes: () => torchFileOf(pickle(body())), code: errorCode, names };
}

/** The value of the one key "victim". */
function victim(title: string, value: Code, outcome: Outcome): HostileTorchFile {
  return refused(title, () => dict([["victim", value]]), outcome);
}

function victimTensor(title: string, fields: TensorFields, outcome: Outcome): HostileTorchFile {
  return victim(title, tensor(fields), outcome);
}

const foreign = "CHECKPOINT_UNSUPPORTED";
const broken = "CHECKPOINT_HEADER";
const cut = "CHECKPOINT_TRUNCATED";
const touch = tuple(text("touch nibble-was-here"));

const foreignNames: readonly (readonly [string, string])[] = [
  ["os", "system"],
  ["posix", "system"],
  ["builtins", "eval"],
  ["builtins", "getattr"],
  ["__builtin__", "exec"],
  ["subprocess", "Popen"],
  ["torch", "load"],
  ["torch.storage", "_load_from_bytes"],
  ["torch.serialization", "_get_layout"],
  ["torch._utils", "_rebuild_tensor_v2.__globals__"],
  ["torch", "_utils._rebuild_tensor_v2"],
  ["collections", "OrderedDict.fromkeys"],
  ["numpy.core.multiarray", "_reconstruct"],
  ["__main__", "Model"],
  ["", ""],
  ["constructor", "constructor"],
];

const callsForeignCode: readonly HostileTorchFile[] = [
  ...foreignNames.flatMap(([module, name]) => [
    victim(`calls ${module}.${name} (GLOBAL)`, code(global(module, name), touch, "R"), [
      foreign,
      `"${module}.${name}"`,
    ]),
    victim(
      `calls ${module}.${name} (STACK_GLOBAL)`,
      code(text(module), text(name), 0x93, touch, "R"),
      [foreign, `"${module}.${name}"`],
    ),
  ]),
  victim("makes an instance (INST)", code("(", text("id"), "ios\nsystem\n"), [foreign, "INST"]),
  victim("makes an instance (OBJ)", code("(", emptyOrderedDict, text("id"), "o"), [foreign, "OBJ"]),
  victim("makes an instance (NEWOBJ)", code(global("collections", "OrderedDict"), ")", 0x81), [
    foreign,
    "NEWOBJ",
  ]),
  victim("makes an instance (NEWOBJ_EX)", code(emptyOrderedDict, ")}", 0x92), [
    foreign,
    "NEWOBJ_EX",
  ]),
  victim("refers to an extension (EXT1)", code(0x82, 1), [foreign, "EXT1"]),
  victim("refers to an object by text (PERSID)", code("Pstorage\n"), [foreign, "PERSID"]),
  victim("asks for a buffer", code(0x97), [foreign, "NEXT_BUFFER"]),
  victim("calls a text", code(text("os.system"), touch, "R"), [broken, "calls a string"]),
  victim("calls a dict", code("}", touch, "R"), [broken, "calls a dict"]),
  victim("calls a storage type", code(global("torch", "FloatStorage"), touch, "R"), broken),
  victim("calls without a tuple", code(global("collections", "OrderedDict"), "}R"), broken),
  victim("sets the state of a tensor", code(tensor(), "}b"), broken),
  victim("sets a state that is no dict", code("}", touch, "b"), broken),
  victim("gives OrderedDict arguments", code(global("collections", "OrderedDict"), touch, "R"), [
    foreign,
    "OrderedDict",
  ]),
  victimTensor("hooks into a tensor", { hooks: dict([["0", text("hook")]]) }, foreign),
  victim("drops a value (POP)", code("NN0"), [foreign, "0x30"]),
  victim(
    "gives a tensor metadata",
    code(
      global("torch._utils", "_rebuild_tensor_v2"),
      tuple(
        ...[storage(), int(0), tuple(int(6)), tuple(int(1)), code(0x89), emptyOrderedDict],
        dict([["conj", code(0x88)]]),
      ),
      "R",
    ),
    foreign,
  ),
];

const notWellFormed: readonly HostileTorchFile[] = [
  refused("holds nothing", () => code(), broken),
  refused("holds a list", () => code("]"), [foreign, "a list"]),
  refused("holds a tensor", () => tensor(), [foreign, "a tensor"]),
  refused("is of protocol 0", () => code("(dp0\n"), [foreign, "0x64"]),
  refused("is of protocol 6", () => code(0x80, 6, "}"), [foreign, "protocol 6"]),
  refused("takes from an empty stack", () => code("R"), broken),
  refused("takes what lies below a mark", () => code("}(", text("a"), "s"), broken),
  refused("takes up to a mark that is not there", () => code("}u"), broken),
  refused("leaves a mark", () => code("}(}"), broken),
  refused("leaves a value", () => code("}}"), broken),
  refused("recalls what was never kept", () => code("h", 3), broken),
  refused("keeps what is not there", () => code("q", 0), broken),
  refused("appends to a dict", () => code("}Na"), broken),
  refused("sets a key of a list", () => code("]", text("a"), "Ns"), broken),
  refused("has a key without a value", () => code("}(", text("a"), "u"), broken),
  refused("has a number as key", () => code("}K", 1, "Ns"), [foreign, "a number"]),
  refused("has a tuple as key", () => code("})Ns"), [foreign, "a tuple"]),
  refused(
    "has a tensor twice",
    () =>
      dict([
        ["a", tensor()],
        ["a", tensor()],
      ]),
    [broken, '"a"'],
  ),
  refused("has a text longer than itself", () => code("X", u32(2 ** 32 - 1), "a"), cut),
  refused("has a text of 2^63 bytes", () => code(0x8d, u64(2n ** 63n), "a"), cut),
  refused("has a text that is not UTF-8", () => code("X", u32(1), 0xff), broken),
  refused("has an integer of 255 bytes", () => code(0x8a, 255), broken),
  refused("has an integer beyond 2^53", () => code(0x8a, 8, u64(2n ** 62n)), broken),
  refused("has an integer of 4 GB (LONG4)", () => code(0x8b, u32(2 ** 31)), [foreign, "LONG4"]),
  refused("has a name without end", () => code("c", "a".repeat(5000)), broken),
  refused("goes on after its end", () => code("}.}"), broken),
  refused("opens a million marks", () => code("(".repeat(2_000_000)), broken),
  refused("nests tuples a million deep", () => code(")", "\x85".repeat(2_000_000)), broken),
  refused("makes a million dicts", () => code("}".repeat(2_000_000)), broken),
  refused("has a pickle of 9 MB", () => code("N".repeat(9_000_000)), [broken, "at most"]),
  victim("doubles a value forty times", code(")", "q\x00h\x00\x86".repeat(40)), [
    foreign,
    '"victim" is a tuple',
  ]),
  victim("holds a number for a tensor", int(3), [foreign, '"victim" is a number']),
  victim("holds None for a tensor", code("N"), [foreign, '"victim" is None']),
  victim("floods the terminal", tuple(text("\x1b[2J".repeat(9999))), foreign),
];

const storages: readonly HostileTorchFile[] = [
  ["../../../../etc/passwd", "path"],
  ["/etc/passwd", "absolute path"],
  ["0/../0", "path that comes back"],
  ["", "empty name"],
  ["1", "record that is not there"],
  ["toString", "name of JavaScript"],
].map(([key = "", title]) =>
  victimTensor(`has a ${title} as storage`, { storage: storage({ key }) }, [broken, "victim"]),
);

const tensors: readonly HostileTorchFile[] = [
  victimTensor("refers to a module", { storage: storage({ tag: "module" }) }, broken),
  victimTensor("has a text for a storage", { storage: text("0") }, foreign),
  victim("has a persistent id that is a text", code(text("0"), "Q"), broken),
  victimTensor("has 7 elements in 24 bytes", { storage: storage({ count: 7 }) }, [broken, "24"]),
  victimTensor("has 5 elements in 24 bytes", { storage: storage({ count: 5 }) }, [broken, "24"]),
  victimTensor("has -6 elements", { storage: storage({ count: -6 }) }, broken),
  victimTensor("has 2^52 elements", { storage: storage({ count: 2 ** 52 }) }, broken),
  victimTensor("starts before its storage", { offset: int(-1) }, [broken, "victim"]),
  victimTensor("starts after its storage", { offset: int(7) }, [broken, "victim"]),
  victimTensor("ends after its storage", { offset: int(1) }, [broken, "victim"]),
  victimTensor("starts at 2^53 - 1", { offset: int(2 ** 53 - 1) }, broken),
  victimTensor(
    "starts at half an element",
    { offset: code("G", "\x3f\xe0", u32(0), "\0\0") },
    broken,
  ),
  victimTensor("starts at NaN", { offset: code("G", "\x7f\xf8", u32(0), "\0\0") }, broken),
  victimTensor("starts at a text", { offset: text("0") }, foreign),
  victimTensor("has a negative shape", { shape: [-2, -3] }, broken),
  victimTensor("has a shape that overflows", { shape: [2 ** 32, 2 ** 32] }, broken),
  victimTensor("hides an overflow behind a zero", { shape: [2 ** 50, 2 ** 50, 0] }, broken),
  victimTensor("has a hundred dimensions", { shape: Array(100).fill(1) }, broken),
  victimTensor("has strides for other dimensions", { strides: [1] }, broken),
  victimTensor("has negative strides", { strides: [-3, -1] }, [broken, "victim"]),
  victimTensor("repeats one row", { strides: [0, 1] }, [foreign, "contiguous"]),
  victimTensor("is transposed", { strides: [1, 2] }, [foreign, "contiguous"]),
  victimTensor("leaves gaps", { shape: [2, 2], strides: [3, 1] }, [foreign, "contiguous"]),
  ...["Double", "Bool", "Char", "Short", "ComplexFloat"].map((type) =>
    victimTensor(`is of ${type}Storage`, { storage: storage({ type: `${type}Storage` }) }, [
      foreign,
      "victim",
    ]),
  ),
];

export const hostilePickles: readonly HostileTorchFile[] = [
  ...callsForeignCode,
  ...notWellFormed,
  ...storages,
  ...tensors,
];

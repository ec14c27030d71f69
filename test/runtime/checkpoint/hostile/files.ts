// Safetensors files that must be refused, each with the code it must be refused with.

import type { CheckpointErrorCode } from "../../../../runtime/checkpoint/errors.ts";
import { safetensorsWithHeader } from "../../../support/tiny-checkpoint.ts";

export type HostileFile = {
  readonly title: string;
  readonly bytes: () => Uint8Array;
  readonly code: CheckpointErrorCode;
  /** What the message must name besides the file. */
  readonly names?: string;
};

const lfsPointer = `version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 4989100
`;

type Fields = { readonly [field: string]: unknown };

function entry(fields: Fields): Fields {
  return { dtype: "U8", shape: [4], data_offsets: [0, 4], ...fields };
}

/** One tensor "victim" with 4 bytes of U8, except for `fields`. */
function victim(fields: Fields, contentBytes = 4): () => Uint8Array {
  return header({ victim: entry(fields) }, contentBytes);
}

function header(json: Fields, contentBytes: number): () => Uint8Array {
  return text(JSON.stringify(json), contentBytes);
}

function text(json: string, contentBytes: number): () => Uint8Array {
  return () => safetensorsWithHeader(json, new Uint8Array(contentBytes));
}

const good = '{"dtype":"U8","shape":[4],"data_offsets":[0,4]}';

export const hostileFiles: readonly HostileFile[] = [
  { title: "is empty", bytes: () => new Uint8Array(), code: "CHECKPOINT_TRUNCATED" },
  {
    title: "ends inside the length prefix",
    bytes: () => new Uint8Array(7),
    code: "CHECKPOINT_TRUNCATED",
  },
  {
    title: "is a Git LFS pointer",
    bytes: () => Buffer.from(lfsPointer),
    code: "CHECKPOINT_LFS_POINTER",
    names: "git lfs pull",
  },
  {
    title: "declares an empty header",
    bytes: () => safetensorsWithHeader(""),
    code: "CHECKPOINT_HEADER",
  },
  {
    title: "declares a header longer than the file",
    bytes: () => safetensorsWithHeader("{}", new Uint8Array(), 3n),
    code: "CHECKPOINT_TRUNCATED",
  },
  {
    title: "declares a header of more than 100 MB",
    bytes: () => safetensorsWithHeader("{}", new Uint8Array(), 100_000_001n),
    code: "CHECKPOINT_HEADER",
    names: "100000001",
  },
  {
    title: "declares a header length that is negative when read as signed",
    bytes: () => safetensorsWithHeader("{}", new Uint8Array(), 2n ** 64n - 1n),
    code: "CHECKPOINT_HEADER",
  },
  {
    title: "is a PyTorch zip under a wrong name",
    bytes: () => Buffer.from("PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl"),
    code: "CHECKPOINT_HEADER",
  },
  { title: "has a header that is cut JSON", bytes: text('{"a":', 0), code: "CHECKPOINT_HEADER" },
  { title: "has an array as header", bytes: text("[]", 0), code: "CHECKPOINT_HEADER" },
  {
    title: "starts its header with a space",
    bytes: text(` {"victim":${good}}`, 4),
    code: "CHECKPOINT_HEADER",
  },
  {
    title: "has a header that is not UTF-8",
    bytes: () =>
      Buffer.concat([
        Buffer.from([5, 0, 0, 0, 0, 0, 0, 0]),
        Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]),
      ]),
    code: "CHECKPOINT_HEADER",
  },
  {
    title: "names a tensor twice",
    bytes: text(`{"victim":${good},"victim":${good}}`, 4),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "names a tensor twice, once escaped",
    bytes: text(`{"victim":${good},"\\u0076ictim":${good}}`, 4),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "gives a tensor two shapes",
    bytes: text('{"victim":{"dtype":"U8","shape":[4],"shape":[2],"data_offsets":[0,4]}}', 4),
    code: "CHECKPOINT_HEADER",
    names: "shape",
  },
  {
    title: "has metadata that is not an object",
    bytes: header({ __metadata__: "pt" }, 0),
    code: "CHECKPOINT_HEADER",
    names: "__metadata__",
  },
  {
    title: "has a number in its metadata",
    bytes: header({ __metadata__: { format: 1 } }, 0),
    code: "CHECKPOINT_HEADER",
    names: "__metadata__.format",
  },
  {
    title: "has null for a tensor",
    bytes: header({ victim: null }, 0),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "has a tensor without dtype",
    bytes: victim({ dtype: undefined }),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  ...["F64", "BOOL", "I8", "F8_E4M3", "bf16", "toString"].map(
    (dtype): HostileFile => ({
      title: `has a tensor of dtype ${dtype}`,
      bytes: victim({ dtype }),
      code: "CHECKPOINT_UNSUPPORTED",
      names: "victim",
    }),
  ),
  ...[[-4], [1.5], ["4"], [null], [[4]], "4", 4, undefined].map(
    (shape): HostileFile => ({
      title: `has the shape ${JSON.stringify(shape)}`,
      bytes: victim({ shape }),
      code: "CHECKPOINT_HEADER",
      names: "victim",
    }),
  ),
  {
    title: "has a shape whose product overflows 64 bits to the right size",
    bytes: victim({ shape: [2 ** 32, 2 ** 32, 4] }),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "hides an overflow behind a zero dimension",
    bytes: victim({ shape: [2 ** 50, 2 ** 50, 0], data_offsets: [0, 0] }, 0),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "has a dimension that is infinite as a double",
    bytes: text('{"victim":{"dtype":"U8","shape":[1e999],"data_offsets":[0,4]}}', 4),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "has a tensor of a million dimensions",
    bytes: () =>
      safetensorsWithHeader(
        JSON.stringify({ victim: entry({ shape: Array(1_000_000).fill(1) }) }),
        new Uint8Array(4),
      ),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  ...[[0], [0, 4, 8], [4, 0], [-4, 0], [0, 4.5], ["0", "4"], null, undefined].map(
    (offsets): HostileFile => ({
      title: `has the offsets ${JSON.stringify(offsets)}`,
      bytes: victim({ data_offsets: offsets }),
      code: "CHECKPOINT_HEADER",
      names: "victim",
    }),
  ),
  {
    title: "has offsets beyond 2^53",
    bytes: victim({ data_offsets: [2 ** 53, 2 ** 53 + 4] }),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "spans fewer bytes than its shape needs",
    bytes: victim({ dtype: "F32" }),
    code: "CHECKPOINT_HEADER",
    names: "16 bytes",
  },
  {
    title: "starts its data with a gap",
    bytes: victim({ data_offsets: [4, 8] }, 8),
    code: "CHECKPOINT_HEADER",
    names: "gap",
  },
  {
    title: "leaves a gap between tensors",
    bytes: header({ first: entry({}), victim: entry({ data_offsets: [8, 12] }) }, 12),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "has tensors that overlap",
    bytes: header({ first: entry({}), victim: entry({ data_offsets: [2, 6] }) }, 6),
    code: "CHECKPOINT_HEADER",
    names: "victim",
  },
  {
    title: "has two tensors in the same place",
    bytes: header({ first: entry({}), victim: entry({}) }, 4),
    code: "CHECKPOINT_HEADER",
    names: "overlaps",
  },
  {
    title: "ends one byte before its last tensor does",
    bytes: victim({}, 3),
    code: "CHECKPOINT_TRUNCATED",
  },
  {
    title: "has a byte after its last tensor",
    bytes: victim({}, 5),
    code: "CHECKPOINT_HEADER",
    names: "1 bytes",
  },
  {
    title: "lies about being huge",
    bytes: victim({ shape: [2 ** 46], data_offsets: [0, 2 ** 46] }),
    code: "CHECKPOINT_TRUNCATED",
  },
];

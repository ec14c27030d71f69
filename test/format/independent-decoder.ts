// A reader of GPTQ checkpoints written from the description of the format alone (auto_gptq's qlinear_cuda_old.py and
// safetensors' README). It shares no code with the project, so that a mistake in our writer and our reader at once
// still shows. It is slow and trusts the files it is given.
import { existsSync, readFileSync } from "node:fs";

export type StoredTensor = {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: DataView;
};

export type DecodedLinear = {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** [out, in] */
  readonly values: Float32Array<ArrayBuffer>;
};

export type DecodedCheckpoint = {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Names of the quantized linears. */
  readonly linears: readonly string[];
  decode(linear: string): DecodedLinear;
  /** A tensor that is not packed. */
  floats(name: string): Float32Array<ArrayBuffer>;
};

export function readGptqCheckpoint(dir: string): DecodedCheckpoint {
  const tensors = readTensors(dir);
  const linears = [...tensors.keys()]
    .filter((name) => name.endsWith(".qweight"))
    .map((name) => name.slice(0, -".qweight".length));
  return {
    tensors,
    linears,
    decode: (linear) => decodeLinear(tensors, linear, readQuantization(dir)),
    floats: (name) => {
      const tensor = tensors.get(name)!;
      const { length } = elementsOf(tensor);
      return Float32Array.from({ length }, (_, i) => floatAt(tensor, i));
    },
  };
}

type Quantization = { readonly bits: number; readonly storesZeroMinusOne: boolean };

/** quantize_config.json, else config.json's quantization_config; without checkpoint_format it is the first layout. */
function readQuantization(dir: string): Quantization {
  const json = (file: string) => JSON.parse(readFileSync(`${dir}/${file}`, "utf8"));
  const own = existsSync(`${dir}/quantize_config.json`) ? json("quantize_config.json") : undefined;
  const { bits, checkpoint_format: format } = own ?? json("config.json").quantization_config;
  return { bits, storesZeroMinusOne: (format ?? "gptq") === "gptq" };
}

/** The files that the index names, or the only one. */
function readTensors(dir: string): ReadonlyMap<string, StoredTensor> {
  const index = `${dir}/model.safetensors.index.json`;
  if (!existsSync(index)) return new Map(readFile(`${dir}/model.safetensors`));
  const map: Record<string, string> = JSON.parse(readFileSync(index, "utf8")).weight_map;
  const files = new Map(
    [...new Set(Object.values(map))].map((file) => [file, new Map(readFile(`${dir}/${file}`))]),
  );
  return new Map(Object.entries(map).map(([name, file]) => [name, files.get(file)!.get(name)!]));
}

/** 8 bytes of header length, the header as JSON, then the tensors' bytes at offsets from its end. */
function readFile(path: string): [string, StoredTensor][] {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> =
    JSON.parse(file.toString("utf8", 8, 8 + length));
  return Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, { dtype, shape, data_offsets: offsets }]) => {
      const begin = file.byteOffset + 8 + length + offsets[0];
      return [
        name,
        { dtype, shape, bytes: new DataView(file.buffer, begin, offsets[1] - offsets[0]) },
      ];
    });
}

function decodeLinear(
  tensors: ReadonlyMap<string, StoredTensor>,
  name: string,
  { bits, storesZeroMinusOne }: Quantization,
): DecodedLinear {
  const [qweight, qzeros, scales, groupIndex] = ["qweight", "qzeros", "scales", "g_idx"].map(
    (part) => tensors.get(`${name}.${part}`)!,
  ) as [StoredTensor, StoredTensor, StoredTensor, StoredTensor];
  const [, outFeatures] = qweight.shape as [number, number];
  const [inFeatures] = groupIndex.shape as [number];
  const levels = 2 ** bits;
  const wordOf = (tensor: StoredTensor, word: number) => tensor.bytes.getUint32(4 * word, true);
  /** Code `index` of a run whose first word is `first` and whose words are `apart`. */
  const field = (tensor: StoredTensor, first: number, apart: number, index: number) => {
    const perWord = bits === 3 ? 32 : 32 / bits;
    const at = first + Math.floor(index / perWord) * (bits === 3 ? 3 : 1) * apart;
    const position = index % perWord;
    if (bits !== 3) return (wordOf(tensor, at) >>> (bits * position)) & (levels - 1);
    const words = [0, 1, 2].map((i) => wordOf(tensor, at + i * apart));
    return threeBits(words as [number, number, number], position);
  };
  // Scales lie [groups, out], zeros the same with the outs of a group packed along the row.
  const groupsTimesOut = elementsOf(scales).length;
  const scale = Float64Array.from({ length: groupsTimesOut }, (_, i) => floatAt(scales, i));
  const zero = Int32Array.from({ length: groupsTimesOut }, (_, i) => {
    const [group, out] = [Math.floor(i / outFeatures), i % outFeatures];
    const stored = field(qzeros, (group * outFeatures * bits) / 32, 1, out);
    return storesZeroMinusOne ? (stored + 1) % levels : stored;
  });
  const values = new Float32Array(outFeatures * inFeatures);
  for (let i = 0; i < inFeatures; i++) {
    const group = groupIndex.bytes.getInt32(4 * i, true);
    for (let o = 0; o < outFeatures; o++) {
      // The codes of consecutive inputs share a word.
      const code = field(qweight, o, outFeatures, i);
      const at = group * outFeatures + o;
      values[o * inFeatures + i] = scale[at]! * (code - zero[at]!);
    }
  }
  return { outFeatures, inFeatures, values };
}

/** As auto_gptq's pack() lays 32 codes over three words: ten, one across, ten, one across, ten. */
function threeBits([a, b, c]: [number, number, number], position: number): number {
  if (position < 10) return (a >>> (3 * position)) & 7;
  if (position === 10) return (a >>> 30) | ((b & 1) << 2);
  if (position < 21) return (b >>> (3 * (position - 11) + 1)) & 7;
  if (position === 21) return (b >>> 31) | ((c & 3) << 1);
  return (c >>> (3 * (position - 22) + 2)) & 7;
}

function elementsOf({ shape }: StoredTensor): { readonly length: number } {
  return { length: shape.reduce((product, extent) => product * extent, 1) };
}

function floatAt({ dtype, bytes }: StoredTensor, index: number): number {
  if (dtype === "F32") return bytes.getFloat32(4 * index, true);
  const bits = bytes.getUint16(2 * index, true);
  const [exponentBits, mantissaBits] = dtype === "F16" ? [5, 10] : [8, 7];
  const mantissa = (bits % 2 ** mantissaBits) / 2 ** mantissaBits;
  const exponent = Math.floor(bits / 2 ** mantissaBits) % 2 ** exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const magnitude =
    exponent === 0 ? mantissa * 2 ** (1 - bias) : (1 + mantissa) * 2 ** (exponent - bias);
  return bits >= 0x8000 ? -magnitude : magnitude;
}

// Rules about the stored tensors that several loaders share. Small ones (zeros, group indices, biases) are read.

import { shown } from "../errors.ts";
import type { JsonObject } from "../json.ts";
import { qwenTensorShapes } from "../qwen-tensors.ts";
import { readTensorBytes, type TensorEntry } from "../tensor-file.ts";
import type { Rule } from "./rule.ts";
import { type StoredLinear, type Subject, settingsOf } from "./subject.ts";

/** What follows from bits and group size; undefined where the settings do not say. */
type Packing = { readonly bits: number; readonly groupSize: number; readonly settings: JsonObject };

function packingOf(subject: Subject): Packing | undefined {
  const settings = settingsOf(subject, "separate");
  const { bits, group_size: groupSize } = settings;
  if (typeof bits !== "number" || typeof groupSize !== "number") return undefined;
  const isSane = [2, 4, 8].includes(bits) && (groupSize === -1 || groupSize > 0);
  return isSane ? { bits, groupSize, settings } : undefined;
}

function isPacked({ tensors }: Subject, { name }: StoredLinear): boolean {
  return ["qweight", "qzeros", "scales"].some((suffix) => tensors.has(`${name}.${suffix}`));
}

/** See auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py for a linear, modeling_qwen.py for the rest. */
export const completeTensors: Rule = {
  id: "tensors-complete",
  kind: "defect",
  reason:
    "every linear needs qweight, qzeros and scales (or weight), and the model all it has besides",
  violations: (subject) => {
    const { shape, tensors, linears } = subject;
    if (shape === undefined || tensors.size === 0) return [];
    const packed = linears.filter((linear) => isPacked(subject, linear));
    const replaced = new Set(packed.map(({ name }) => `${name}.weight`));
    const needed = [
      ...[...qwenTensorShapes(shape).keys()].filter((name) => !replaced.has(name)),
      ...packed.flatMap(({ name }) =>
        ["qweight", "qzeros", "scales"].map((suffix) => `${name}.${suffix}`),
      ),
    ];
    return needed.filter((name) => !tensors.has(name)).map((name) => `${name} is missing`);
  },
};

/** [K·bits/32, N], [K/g, N·bits/32], [K/g, N], [K], [N]; of the rest as the float model. */
export const tensorShapes: Rule = {
  id: "tensor-shapes",
  kind: "defect",
  reason: "shapes have to follow from config.json, bits and group size",
  violations: (subject) => {
    const { shape, tensors } = subject;
    if (shape === undefined) return [];
    const wanted = new Map(qwenTensorShapes(shape));
    const packing = packingOf(subject);
    for (const linear of subject.linears) {
      if (packing === undefined) break;
      for (const [suffix, expected] of Object.entries(packedShapes(linear, packing))) {
        wanted.set(`${linear.name}.${suffix}`, expected);
      }
    }
    return [...wanted].flatMap(([name, expected]) => {
      const got = tensors.get(name)?.shape ?? expected;
      return got.join() === expected.join()
        ? []
        : [`${name} is ${shown(got)}; expected ${shown(expected)}`];
    });
  },
};

function packedShapes(
  { inFeatures, outFeatures }: StoredLinear,
  { bits, groupSize }: Packing,
): Readonly<Record<string, readonly number[]>> {
  const groups = groupSize === -1 ? 1 : Math.ceil(inFeatures / groupSize);
  return {
    qweight: [(inFeatures / 32) * bits, outFeatures],
    qzeros: [groups, (outFeatures / 32) * bits],
    scales: [groups, outFeatures],
    g_idx: [inFeatures],
    bias: [outFeatures],
  };
}

/** torch.int32 buffers in every QuantLinear; vLLM's PackedvLLMParameter asserts it. */
export const tensorDtypes: Rule = {
  id: "tensor-dtypes",
  kind: "defect",
  reason: "qweight, qzeros and g_idx have to be I32, scales and all else floats",
  violations: ({ tensors }) =>
    [...tensors.values()].flatMap(({ name, dtype }) => {
      const isInteger = /\.(qweight|qzeros|g_idx)$/.test(name);
      const isRight = isInteger ? dtype === "I32" : ["F16", "BF16", "F32"].includes(dtype);
      return isRight ? [] : [`${name} is ${dtype}`];
    }),
};

/** Words of 32 bits along K and N, and no kernel has a partial last group. */
export const divisibility: Rule = {
  id: "divisible",
  kind: "defect",
  reason:
    "inputs and outputs of a packed linear have to be multiples of 32, inputs one of the group size",
  violations: (subject) => {
    const packing = packingOf(subject);
    if (packing === undefined) return [];
    return subject.linears.flatMap((linear) => {
      const { name, inFeatures, outFeatures } = linear;
      if (!isPacked(subject, linear)) return [];
      const group = packing.groupSize === -1 ? inFeatures : packing.groupSize;
      const isRight = inFeatures % 32 === 0 && outFeatures % 32 === 0 && inFeatures % group === 0;
      return isRight
        ? []
        : [`${name}: ${inFeatures} inputs, ${outFeatures} outputs, groups of ${group}`];
    });
  },
};

/**
 * Kernels without act-order take groups as consecutive whatever g_idx says; with it, they sort by g_idx and then take
 * them as consecutive (vLLM marlin_sort_g_idx), so each group has to have its full size. All zeros stands for none
 * (exllamav2 ext.py:371).
 */
export const groupIndex: Rule = {
  id: "group-index",
  kind: "defect",
  reason: "g_idx has to be i // group_size without desc_act, and groups of equal size with it",
  violations: (subject) => {
    const packing = packingOf(subject);
    if (packing === undefined) return [];
    const isOrdered = packing.settings["desc_act"] !== true;
    return subject.linears.flatMap((linear) => {
      const { name, inFeatures } = linear;
      if (!isOrdered && isPacked(subject, linear) && !subject.tensors.has(`${name}.g_idx`)) {
        return [`${name}.g_idx is missing, with desc_act`];
      }
      const index = int32(subject.tensors.get(`${name}.g_idx`));
      if (index?.length !== inFeatures || index.every((group) => group === 0)) return [];
      const size = packing.groupSize === -1 ? inFeatures : packing.groupSize;
      const problem = isOrdered ? outOfOrder(index, size) : unequalGroups(index, size);
      return problem === undefined ? [] : [`${name}.g_idx: ${problem}`];
    });
  },
};

function outOfOrder(index: Int32Array, size: number): string | undefined {
  const at = index.findIndex((group, i) => group !== Math.floor(i / size));
  if (at < 0) return undefined;
  return `entry ${at} is ${index[at]}, expected ${Math.floor(at / size)} as desc_act is false`;
}

function unequalGroups(index: Int32Array, size: number): string | undefined {
  const counts = new Map<number, number>();
  for (const group of index) counts.set(group, (counts.get(group) ?? 0) + 1);
  const groups = Math.ceil(index.length / size);
  const odd = [...counts].find(([group, count]) => group < 0 || group >= groups || count !== size);
  if (odd === undefined) return undefined;
  return `group ${odd[0]} has ${odd[1]} inputs, expected groups 0 to ${groups - 1} of ${size}`;
}

/** Stored are zero − 1 in v1 and the zero in gptq_v2; read as the other, a model turns out gibberish (vLLM #26343). */
export const zerosMatchFormat: Rule = {
  id: "zeros-match-format",
  kind: "defect",
  reason: "zeros of a symmetric model have to be those of its checkpoint_format",
  violations: (subject) => {
    const packing = packingOf(subject);
    if (packing === undefined || packing.settings["sym"] === false) return [];
    const isV2 = packing.settings["checkpoint_format"] === "gptq_v2";
    const code = 2 ** (packing.bits - 1) - (isV2 ? 0 : 1);
    const word = repeated(code, packing.bits);
    return subject.linears.flatMap(({ name }) => {
      const odd = int32(subject.tensors.get(`${name}.qzeros`))?.find((stored) => stored !== word);
      if (odd === undefined) return [];
      return [
        `${name}.qzeros holds 0x${(odd >>> 0).toString(16)}; expected every code to be ${code}`,
      ];
    });
  },
};

/** One code in every field of a word. */
function repeated(code: number, bits: number): number {
  let word = 0;
  for (let shift = 0; shift < 32; shift += bits) word |= code << shift;
  return word;
}

/** Loaders that build linears as the model defines them drop a bias it does not have, so it may say nothing. */
export const zeroBiases: Rule = {
  id: "extra-bias-zero",
  kind: "defect",
  reason: "a bias where the model has none has to be zero: the loader leaves it out",
  violations: ({ linears, tensors }) =>
    linears.flatMap(({ name, hasBias }) => {
      const entry = hasBias ? undefined : tensors.get(`${name}.bias`);
      if (entry === undefined || readTensorBytes(entry).every((byte) => byte === 0)) return [];
      return [`${name}.bias has values other than 0`];
    }),
};

function int32(entry: TensorEntry | undefined): Int32Array | undefined {
  return entry?.dtype === "I32" ? new Int32Array(readTensorBytes(entry).slice().buffer) : undefined;
}

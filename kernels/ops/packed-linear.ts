import type { Device } from "../device.ts";
import { KernelError } from "../errors.ts";
import { call, type NativeLinearInput, type NativePackedWeight } from "../native.ts";
import type { Tensor } from "../tensor.ts";
import type { GptqWeight, WeightBits } from "./linear.ts";
import type { RmsNorm } from "./norm.ts";
import { planLayout } from "./packed-layout.ts";
import type { F32, FloatTensor, I32, U8 } from "./types.ts";

/** Outputs that are stored together. */
const outputsPerBlock = 16;

/** What activations are rounded to, with a scale for each row and block: "int8" is coarser, and faster for many rows. */
export type ActivationDtype = "int16" | "int8";

/** Where a packed weight keeps its inputs: in places, blocks of them belonging to one group each. */
export type PackedLayout = {
  readonly inFeatures: number;
  readonly bits: 4 | 8;
  /** Places per block, a multiple of 8 and at most 128 */
  readonly blockSize: number;
  readonly blocks: number;
  /** [blocks · blockSize], the input at each place, −1 for none; undefined where place i holds input i */
  readonly order: I32 | undefined;
  /** What `order` holds */
  readonly places: Int32Array | undefined;
};

/** A quantized weight [out, in] in the order in which a product reads it (src/ops/packed_linear). */
export type PackedWeight = {
  readonly layout: PackedLayout;
  readonly outFeatures: number;
  /** [out / 16, blocks · blockSize · bits / 32, 16], rounded up; codes of consecutive places from the lowest bits up */
  readonly words: I32;
  /** [out / 16, blocks, 16], in the dtype they were stored in */
  readonly scales: FloatTensor;
  /** [out / 16, blocks, 16]; undefined where every zero is `zero` */
  readonly zeros: U8 | undefined;
  readonly zero: number;
};

export type PackOptions = {
  /** What `weight.groupIndex` holds */
  readonly groupIndex?: Int32Array | undefined;
  /** Where every stored zero is known to be the same */
  readonly zero?: number | undefined;
};

/** Codes of 2 and 3 bits take up 4 in memory: products know no narrower ones. */
function packedBits(bits: WeightBits): 4 | 8 {
  return bits === 8 ? 8 : 4;
}

/** @param groupIndex  [in], as the weight's own, which the host must know; undefined where that has none */
function packedLayout(
  device: Device,
  shape: { readonly inFeatures: number; readonly bits: WeightBits; readonly groupSize: number },
  groupIndex?: Int32Array,
): { readonly layout: PackedLayout; readonly blockGroups: I32 } {
  const { inFeatures, bits, groupSize } = shape;
  const { blockSize, order, blockGroups } = planLayout(inFeatures, groupSize, groupIndex);
  const layout = {
    ...{ inFeatures, bits: packedBits(bits), blockSize, blocks: blockGroups.length },
    ...{ order: order && device.from("i32", order), places: order },
  };
  return { layout, blockGroups: device.from("i32", blockGroups) };
}

/**
 * Brings a weight of the GPTQ layout into the order in which `quantizedLinear` reads it: once, at load.
 */
export function packLinear(weight: GptqWeight, options: PackOptions = {}): PackedWeight {
  const { qweight, qzeros, scales, bits, zeroOffset } = weight;
  const { device } = qweight;
  const { packed, blockGroups } = unfilled(weight, options);
  const { layout } = packed;
  call((addon) =>
    addon.packLinear(
      ...([device.handle, qweight.handle, qzeros.handle, scales.handle] as const),
      ...([layout.order?.handle ?? null, blockGroups.handle] as const),
      ...([bits, zeroOffset] as const),
      ...nativeWeight(packed),
    ),
  );
  blockGroups[Symbol.dispose]();
  return packed;
}

/** Tensors of a packed weight that were kept somewhere, such as in a file. */
export type KeptWeight = {
  readonly words: Tensor;
  readonly scales: Tensor;
  readonly zeros: Tensor | undefined;
};

/**
 * What `packLinear(weight, options)` returned, from a copy of the tensors it had then.
 *
 * @throws KernelError KERNEL_SHAPE if they are not of that weight's shapes and dtypes
 */
export function restorePacked(
  weight: GptqWeight,
  options: PackOptions,
  kept: KeptWeight,
): PackedWeight {
  const { packed, blockGroups } = unfilled(weight, options);
  blockGroups[Symbol.dispose]();
  const pairs = (["words", "scales", "zeros"] as const).map(
    (part) => [part, kept[part], packed[part]] as const,
  );
  for (const [part, from, to] of pairs) {
    if (describe(from) === describe(to)) continue;
    for (const tensor of [packed.layout.order, packed.words, packed.scales, packed.zeros]) {
      tensor?.[Symbol.dispose]();
    }
    const problem = `${part} is ${describe(from)}; expected ${describe(to)}`;
    throw new KernelError("KERNEL_SHAPE", `restorePacked: ${problem}`);
  }
  for (const [, from, to] of pairs) {
    if (from === undefined || to === undefined) continue;
    using source = from.reshape([from.size(0), from.size(1) * from.size(2)]);
    using target = to.reshape(source.shape);
    call((addon) => addon.copy(source.device.handle, source.handle, target.handle));
  }
  return packed;
}

function describe(tensor: Tensor | undefined): string {
  return tensor === undefined ? "absent" : `${tensor.dtype} [${tensor.shape}]`;
}

function unfilled(
  weight: GptqWeight,
  options: PackOptions,
): { readonly packed: PackedWeight; readonly blockGroups: I32 } {
  const { qweight, scales, bits, groupSize } = weight;
  const { device } = qweight;
  if ((weight.groupIndex === undefined) !== (options.groupIndex === undefined)) {
    throw new KernelError(
      "KERNEL_VALUE",
      "packLinear: groupIndex must be given where the weight has one",
    );
  }
  const shape = { inFeatures: (qweight.size(0) * 32) / bits, bits, groupSize };
  const { layout, blockGroups } = packedLayout(device, shape, options.groupIndex);
  const outFeatures = qweight.size(1);
  const packed = emptyPacked(device, {
    ...{ layout, outFeatures, dtype: scales.dtype, zero: options.zero },
  });
  return { packed, blockGroups };
}

/** Not filled yet. */
export function emptyPacked(
  device: Device,
  shape: {
    readonly layout: PackedLayout;
    readonly outFeatures: number;
    readonly dtype: FloatTensor["dtype"];
    readonly zero: number | undefined;
  },
): PackedWeight {
  const { layout, outFeatures, dtype, zero } = shape;
  const outputBlocks = Math.ceil(outFeatures / outputsPerBlock);
  const words = (layout.blocks * layout.blockSize * layout.bits) / 32;
  const perBlock = [outputBlocks, layout.blocks, outputsPerBlock];
  return {
    layout,
    outFeatures,
    words: device.empty("i32", [outputBlocks, words, outputsPerBlock]),
    scales: device.empty(dtype, perBlock),
    zeros: zero === undefined ? device.empty("u8", perBlock) : undefined,
    zero: zero ?? 0,
  };
}

/**
 * (x · Wᵀ + bias) + residual, of x rounded to integers: by at most half of 1/32767 (or 1/127) of the largest magnitude of a
 * row's block. The products of a block are summed in integers, exactly, so the result has the same bits on every
 * instruction set; a row's do not depend on the other rows.
 *
 * @param x  [rows, in]
 * @param options.bias         [out]
 * @param options.residual     [rows, out]
 * @param options.activations  what x is rounded to, "int16" by default
 * @param options.norm         what x is normalised by before: the bits of `rmsNorm` and this; on a GPU without another kernel
 * @returns [rows, out]
 */
export function quantizedLinear(
  x: F32,
  weight: PackedWeight,
  options: InputOptions & {
    readonly bias?: FloatTensor | undefined;
    readonly residual?: F32 | undefined;
  } = {},
): F32 {
  const { device } = x;
  const y = device.empty("f32", [x.size(0), weight.outFeatures]);
  call((addon) =>
    addon.quantizedLinear(
      ...([device.handle, ...nativeInput(x, weight.layout, options)] as const),
      ...([...nativeWeight(weight), options.bias?.handle ?? null] as const),
      ...([options.residual?.handle ?? null, y.handle] as const),
    ),
  );
  return y;
}

/** How a product takes its rows. */
export type InputOptions = {
  /** What x is rounded to, "int16" by default */
  readonly activations?: ActivationDtype | undefined;
  /** What x is normalised by before, as `rmsNorm` does */
  readonly norm?: RmsNorm | undefined;
};

export function nativeInput(
  x: F32,
  { order }: PackedLayout,
  { activations, norm }: InputOptions,
): NativeLinearInput {
  const normHandles = [norm?.weight.handle ?? null, norm?.epsilon ?? 0] as const;
  return [x.handle, order?.handle ?? null, ...normHandles, activations === "int8" ? 8 : 16];
}

export function nativeWeight(weight: PackedWeight): NativePackedWeight {
  const { words, scales, zeros, zero, layout } = weight;
  const handles = [words.handle, scales.handle, zeros?.handle ?? null] as const;
  return [...handles, zero, layout.bits, layout.blockSize];
}

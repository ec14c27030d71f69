import { KernelError } from "../errors.ts";
import { call } from "../native.ts";
import {
  type InputOptions,
  nativeInput,
  nativeWeight,
  type PackedLayout,
  type PackedWeight,
} from "./packed-linear.ts";
import type { F32, FloatTensor } from "./types.ts";

/** A linear over a packed weight. */
export type PackedLinear = {
  readonly weight: PackedWeight;
  /** [out] */
  readonly bias?: FloatTensor | undefined;
};

/** Whether two weights have their inputs in the same places: both multiply what is rounded for one. */
export function haveSamePlaces(a: PackedLayout, b: PackedLayout): boolean {
  const isAlike = (["inFeatures", "bits", "blockSize", "blocks"] as const).every(
    (extent) => a[extent] === b[extent],
  );
  if (!isAlike || a.places === undefined || b.places === undefined) {
    return isAlike && a.places === b.places;
  }
  if (found.get(a) === b) return true;
  const isSame = a.places.every((input, place) => input === b.places?.[place]);
  if (isSame) found.set(a, b);
  return isSame;
}

/** Of a layout the last that has the same order: asked at every call, by thousands of inputs. */
const found = new WeakMap<PackedLayout, PackedLayout>();

/**
 * up · silu(gate) of two linears of x (SwiGLU, arXiv:2002.05202): the bits of `quantizedLinear` twice and `swiglu`, but x is
 * normalised and rounded once, and on a GPU few rows take one kernel.
 *
 * @param x  [rows, in]
 * @returns [rows, out]
 * @throws KernelError KERNEL_SHAPE where the weights have their inputs in different places or other numbers of outputs
 */
export function gatedLinear(
  x: F32,
  options: InputOptions & { readonly up: PackedLinear; readonly gate: PackedLinear },
): F32 {
  const { device } = x;
  const { up, gate } = options;
  if (!haveSamePlaces(up.weight.layout, gate.weight.layout)) {
    throw new KernelError("KERNEL_SHAPE", "gatedLinear: the weights' inputs lie in other places");
  }
  const [outputs, gates] = [up.weight.outFeatures, gate.weight.outFeatures];
  if (outputs !== gates) {
    const problem = `${outputs} outputs have ${gates} gates`;
    throw new KernelError("KERNEL_SHAPE", `gatedLinear: ${problem}`);
  }
  const y = device.empty("f32", [x.size(0), outputs]);
  using scratch = device.empty("f32", y.shape);
  call((addon) =>
    addon.gatedLinear(
      ...([device.handle, ...nativeInput(x, up.weight.layout, options)] as const),
      ...([...nativeWeight(up.weight), up.bias?.handle ?? null] as const),
      ...([...nativeWeight(gate.weight), gate.bias?.handle ?? null] as const),
      ...([scratch.handle, y.handle] as const),
    ),
  );
  return y;
}

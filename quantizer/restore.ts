import type { Device } from "../kernels/index.ts";
import { gptqLinear, type Linear, zeroOffsetOf } from "../runtime/index.ts";
import type { Output } from "./output.ts";
import { quantizationOf, type Recipe } from "./recipe.ts";
import type { LinearScheme } from "./schemes.ts";

/**
 * The packed linear that an interrupted run wrote, bit for bit as it computed with it then.
 *
 * @param name    the linear's full name
 * @param linear  the float linear it replaces
 */
export function restoreLinear(
  output: Output,
  name: string,
  linear: Linear,
  context: { readonly recipe: Recipe; readonly scheme: LinearScheme; readonly device: Device },
): Linear {
  const { recipe, scheme, device } = context;
  const { dtype } = recipe;
  const { bits } = scheme;
  const { inFeatures, outFeatures } = linear;
  const groupSize = scheme.groupSize === -1 ? inFeatures : scheme.groupSize;
  const groups = Math.ceil(inFeatures / groupSize);
  const words = (suffix: string, shape: readonly number[]) =>
    device.from("i32", new Int32Array(required(output, `${name}.${suffix}`)), shape);
  const floats = (bytes: ArrayBuffer, shape: readonly number[]) =>
    device.from(dtype, new Uint16Array(bytes), shape);
  const groupIndex = new Int32Array(required(output, `${name}.g_idx`));
  const weight = {
    qweight: words("qweight", [(inFeatures * bits) / 32, outFeatures]),
    qzeros: words("qzeros", [groups, (outFeatures * bits) / 32]),
    scales: floats(required(output, `${name}.scales`), [groups, outFeatures]),
    groupIndex: device.from("i32", groupIndex),
    bits,
    zeroOffset: zeroOffsetOf(quantizationOf(recipe).checkpointFormat),
    groupSize,
  };
  const bias = output.readBack(`${name}.bias`)?.buffer;
  return gptqLinear(
    weight,
    bias === undefined ? device.zeros(dtype, [outFeatures]) : floats(bias, [outFeatures]),
    { groupIndex },
  );
}

function required(output: Output, name: string): ArrayBuffer {
  const bytes = output.readBack(name);
  if (bytes === undefined) throw new RangeError(`${name} is not part of the checkpoint`);
  return bytes.buffer;
}
